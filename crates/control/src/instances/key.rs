//! The public key of an instance: it is in the record of its attestation.

use aims_crypto::PublicKey;
use aims_jose::Thumbprint;
use aims_json::Value;
use aims_model::{EventKind, Instance, Record};
use aims_store::Reader;

use crate::Fault;
use crate::keyring::parse_jwk;
use crate::trace::records_of;

/// Finds the key that an instance was attested with.
pub(crate) async fn key_of(
    reader: &mut dyn Reader,
    instance: &Instance,
) -> Result<PublicKey, Fault> {
    let id = instance.id.to_string();
    for bytes in records_of(reader, instance.task).await? {
        let Ok(record) = Record::decode(&bytes) else {
            continue;
        };
        let body = &record.event.body;
        let is_it = record.event.kind == EventKind::InstanceAttested
            && body.get("instance").and_then(Value::as_str) == Some(&id);
        let Some(jwk) = body.get("jwk").and_then(Value::as_str).filter(|_| is_it) else {
            continue;
        };
        let key = parse_jwk(jwk).map_err(|error| Fault::Inconsistent(error.to_string()))?;
        if Thumbprint::of(&key).to_string() == instance.jkt {
            return Ok(key);
        }
    }
    Err(Fault::Inconsistent(format!(
        "the key of instance `{id}` is not recorded"
    )))
}
