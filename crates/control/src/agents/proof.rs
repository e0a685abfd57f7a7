//! What an agent proves itself with: its program, or keys that it holds itself.

use std::collections::BTreeSet;

use aims_crypto::PublicKey;
use aims_jose::Thumbprint;
use aims_json::to_canonical;
use aims_model::evidence::{ARGUMENT_LEN_MAX, ARGUMENTS_MAX, Arguments, EVIDENCE_ITEMS_MAX};
use aims_model::{Assurance, Expected, agent};
use aims_store::Reader;
use aims_types::{self as types, Id, Name};

use super::register::{AGENT_KEYS_MAX, EVIDENCE_LEN_MAX, Proof, RegisterAgentError};
use crate::identity::IdentityError;
use crate::keyring::parse_jwk;
use crate::recording::{shown, value};

/// What an agent proves itself with, checked.
pub(super) struct Admitted {
    pub(super) evidence: Option<Expected>,
    pub(super) assurance: Assurance,
    pub(super) keys: Vec<PublicKey>,
    pub(super) service: Option<Id<types::Service>>,
}

/// Checks what an agent is to prove itself with.
pub(super) async fn admitted(
    reader: &mut dyn Reader,
    proof: Proof,
) -> Result<Admitted, RegisterAgentError> {
    match proof {
        Proof::Program(evidence) => {
            check_evidence(&evidence)?;
            Ok(Admitted {
                evidence: Some(evidence),
                assurance: Assurance::Confined,
                keys: Vec::new(),
                service: None,
            })
        }
        Proof::Keys { assurance, jwks } => {
            let keys = own_keys(reader, &jwks).await?;
            match assurance.parse() {
                Ok(Assurance::KeyHeld) => Ok(Admitted {
                    evidence: None,
                    assurance: Assurance::KeyHeld,
                    keys,
                    service: None,
                }),
                _ => Err(RegisterAgentError::Assurance(shown(&assurance))),
            }
        }
        Proof::Service { assurance, service } => match assurance.parse() {
            Ok(Assurance::Observed) => Ok(Admitted {
                evidence: None,
                assurance: Assurance::Observed,
                keys: Vec::new(),
                service: Some(own_service(reader, &service).await?),
            }),
            _ => Err(RegisterAgentError::Assurance(shown(&assurance))),
        },
    }
}

/// Keys that are the agent's alone: not one of them is enrolled, or an instance's.
async fn own_keys(
    reader: &mut dyn Reader,
    jwks: &[String],
) -> Result<Vec<PublicKey>, RegisterAgentError> {
    if !(1..=AGENT_KEYS_MAX).contains(&jwks.len()) {
        return Err(RegisterAgentError::KeyCount);
    }
    let live = reader.instances_live().await?;
    let (mut keys, mut seen) = (Vec::new(), BTreeSet::new());
    for jwk in jwks {
        let key = parse_jwk(jwk)?;
        let kid = Thumbprint::of(&key).to_string();
        let held = live.iter().any(|instance| instance.jkt == kid);
        if held || reader.key(&kid).await?.is_some() || !seen.insert(kid.clone()) {
            return Err(RegisterAgentError::KeyTaken(kid));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// A service that is active, and that no other agent is.
async fn own_service(
    reader: &mut dyn Reader,
    text: &str,
) -> Result<Id<types::Service>, RegisterAgentError> {
    let refused = |why| RegisterAgentError::Service {
        service: shown(text),
        why,
    };
    let service = match text.parse::<Name>() {
        Ok(name) => reader.service_by_name(&name).await?,
        Err(_) => None,
    };
    let service = service.ok_or_else(|| refused("no such service is registered"))?;
    if !service.stage.is_active() {
        return Err(refused("it is retired"));
    }
    let is_it = |one: &types::Id<types::Service>| *one == service.id;
    let taken = reader.agents().await?.into_iter().any(|one| {
        let retired = matches!(one.stage, agent::Stage::Retired { .. });
        !retired && one.service.as_ref().is_some_and(is_it)
    });
    if taken {
        return Err(refused("it is another agent already"));
    }
    Ok(service.id)
}

fn check_evidence(evidence: &Expected) -> Result<(), RegisterAgentError> {
    let hint = "which program must be seen, by path and digest";
    if evidence.program.path.is_empty() {
        let field = "evidence";
        return Err(IdentityError::Missing { field, hint }.into());
    }
    let refused = |why: String| Err(RegisterAgentError::Evidence(why));
    if evidence.files.len() > EVIDENCE_ITEMS_MAX || evidence.trees.len() > EVIDENCE_ITEMS_MAX {
        return refused(format!("more than {EVIDENCE_ITEMS_MAX} files or trees"));
    }
    let program = std::iter::once(&evidence.program);
    let bound: Vec<_> = program
        .chain(&evidence.files)
        .chain(&evidence.trees)
        .collect();
    let mut paths = BTreeSet::new();
    for item in evidence.interpreter.iter().chain(bound.iter().copied()) {
        let path = item.path.as_str();
        if !path.starts_with('/') || path.len() > ARGUMENT_LEN_MAX || has_control(path) {
            return refused(format!("`{}` is not an absolute path", shown(path)));
        }
    }
    for item in bound {
        // The interpreter comes from one of the trees, which may be it alone.
        if !paths.insert(item.path.as_str()) {
            return refused(format!("`{}` is named twice", shown(&item.path)));
        }
    }
    if let Arguments::Exactly(arguments) = &evidence.arguments
        && (arguments.len() > ARGUMENTS_MAX || arguments.iter().any(|a| a.len() > ARGUMENT_LEN_MAX))
    {
        return refused(format!(
            "more than {ARGUMENTS_MAX} arguments, or one that is too long"
        ));
    }
    let canonical = to_canonical(&value(evidence)?).map_err(|error| error.to_string());
    match canonical {
        Ok(bytes) if bytes.len() <= EVIDENCE_LEN_MAX => Ok(()),
        Ok(_) => refused(format!("it takes more than {EVIDENCE_LEN_MAX} bytes")),
        Err(why) => refused(why),
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
