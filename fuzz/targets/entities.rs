//! What the database keeps and what travels as JSON: an entity that is read is kept as one text,
//! which is read as the same. The first byte chooses the entity.
#![no_main]

use aims_json::{Limits, from_slice, to_canonical_exact, to_value};
use aims_model::approval::{Answer, Asked};
use aims_model::material::Erasure;
use aims_model::{
    Agent, Approval, CutOff, EnrolledKey, Evidence, Expected, Instance, JoinToken, LeaseRow,
    Person, PolicyVersion, Posture, ProcessSeen, Receipt, Run, ServerSpec, Service,
    ServiceInstance, Task, ToolPin, ToolServer, TreeOwner, Upstream, UpstreamSpec,
};
use aims_types::Id;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

const ENTITIES: [fn(&[u8]); 26] = [
    one_text::<Agent>,
    one_text::<Approval>,
    one_text::<CutOff>,
    one_text::<EnrolledKey>,
    one_text::<Evidence>,
    one_text::<Expected>,
    one_text::<Instance>,
    one_text::<JoinToken>,
    one_text::<LeaseRow>,
    one_text::<Person>,
    one_text::<PolicyVersion>,
    one_text::<Posture>,
    one_text::<ProcessSeen>,
    one_text::<Receipt>,
    one_text::<Run>,
    one_text::<ServerSpec>,
    one_text::<Service>,
    one_text::<ServiceInstance>,
    one_text::<Task>,
    one_text::<Vec<ToolPin>>,
    one_text::<ToolServer>,
    one_text::<TreeOwner>,
    one_text::<Upstream>,
    one_text::<UpstreamSpec>,
    one_text::<Erasure>,
    approvals,
];

fuzz_target!(|input: &[u8]| {
    if let Some((which, bytes)) = input.split_first() {
        ENTITIES[usize::from(*which) % ENTITIES.len()](bytes);
    }
});

fn one_text<E: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8]) {
    let Ok(entity) = from_slice::<E>(bytes, &Limits::DOCUMENT) else {
        return;
    };
    // What can't be kept is refused when it is written, and never half.
    let kept = |entity: &E| to_canonical_exact(&to_value(entity).ok()?).ok();
    let Some(body) = kept(&entity) else { return };
    let again: E = from_slice(&body, &Limits::DOCUMENT).expect("what is kept is read");
    assert!(again == entity, "{}", String::from_utf8_lossy(&body));
    assert_eq!(kept(&again).unwrap(), body);
}

/// What a person is asked, and their answer.
fn approvals(bytes: &[u8]) {
    if let Ok(answer) = Answer::from_claims(bytes) {
        assert_eq!(answer.to_claims().unwrap(), bytes);
    }
    let Ok(asked) = from_slice::<Asked>(bytes, &Limits::DOCUMENT) else {
        return;
    };
    let Ok(question) = asked.digest() else { return };
    // Whoever asks, it is the same question; whatever else changes, it is another.
    let mut other = Asked {
        instance: Id::from_u128(7),
        ..asked.clone()
    };
    assert_eq!(other.digest(), Ok(question));
    other.arguments.push(' ');
    assert_ne!(other.digest(), Ok(question));
    let mut other = asked.clone();
    other.tool.push('x');
    assert_ne!(other.digest(), Ok(question));
    other = asked;
    if other.requirements.pop().is_some() {
        assert_ne!(other.digest(), Ok(question));
    }
    one_text::<Asked>(bytes);
}
