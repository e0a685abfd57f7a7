use aims_crypto::sha256;
use aims_model::{PolicyVersion, Subject};
use aims_types::{Id, Timestamp};
use proptest::prelude::*;

use super::*;

fn state(revision: u64, cutoffs: &[u64]) -> ControlState {
    let cut = |n: &u64| CutOff {
        subject: Subject::Task(Id::from_u128(u128::from(*n) % 4)),
        at_or_before: Revision::new(*n),
    };
    ControlState {
        revision: Revision::new(revision),
        issuer: "https://aims.test".to_owned(),
        policy: Arc::new(PolicyVersion {
            id: Id::from_u128(1),
            text: "permit(principal, action, resource);".to_owned(),
            digest: sha256(b"policy"),
            author: None,
            activated_at: Timestamp::from_unix_secs(1),
        }),
        servers: Arc::default(),
        upstreams: Arc::default(),
        keys: Arc::default(),
        cutoffs: Arc::new(cutoffs.iter().map(cut).collect()),
        approvals: Arc::default(),
    }
}

#[test]
fn a_change_carries_only_what_changed() {
    let first = state(1, &[1]);
    let second = ControlState {
        revision: Revision::new(2),
        ..first.clone()
    };
    let little = change(Some(&first), &second);
    assert!(little.policy_json.is_none() && little.issuer.is_none());
    assert_eq!(little.cutoffs_json, b"[]");
    let mine = changed(Some(&first), little).unwrap();
    // What did not change is the same value, so that gateways can tell by the pointer.
    assert!(Arc::ptr_eq(&mine.cutoffs, &first.cutoffs));
    assert!(Arc::ptr_eq(&mine.policy, &first.policy));
}

#[test]
fn a_change_without_the_state_before_it_is_refused() {
    let first = state(1, &[]);
    let second = ControlState {
        revision: Revision::new(2),
        ..first.clone()
    };
    assert!(changed(None, change(Some(&first), &second)).is_err());
}

proptest! {
    #[test]
    fn changes_in_a_row_make_the_whole_state(
        steps in prop::collection::vec((prop::collection::btree_set(0_u64..64, 0..6), any::<bool>()), 1..8)
    ) {
        let (mut sent, mut mine): (Option<ControlState>, Option<ControlState>) = (None, None);
        let mut cutoffs = std::collections::BTreeSet::new();
        for (step, (added, new_policy)) in (1..).zip(steps) {
            cutoffs.extend(added);
            // They come in any order.
            let all: Vec<u64> = cutoffs.iter().rev().copied().collect();
            let mut next = state(step, &all);
            if let Some(sent) = sent.as_ref().filter(|_| !new_policy) {
                next.policy = Arc::clone(&sent.policy);
            }
            let got = changed(mine.as_ref(), change(sent.as_ref(), &next)).unwrap();
            prop_assert_eq!(got.revision, next.revision);
            prop_assert_eq!(&got.policy, &next.policy);
            prop_assert_eq!(got.cutoffs.len(), next.cutoffs.len());
            for cut in next.cutoffs.iter() {
                prop_assert!(got.cutoffs.contains(cut));
            }
            (sent, mine) = (Some(next), Some(got));
        }
    }
}
