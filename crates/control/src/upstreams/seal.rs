//! Envelopes: a credential under a data key of its own, and that under the master key.

use aims_crypto::SealKey;
use aims_keys::{DATA_KEY_LEN, KeyStore};
use aims_links::CredentialLease;
use aims_model::Upstream;
use aims_store::StoredCredential;
use aims_types::{Entropy, Secret};

use crate::Fault;

/// What the data keys are for.
const USE: &str = "upstream";

/// Seals the credential of this version of `upstream`. The data key is made for it and nothing
/// else is ever sealed under it.
pub(super) fn seal(
    keys: &KeyStore,
    entropy: &dyn Entropy,
    upstream: &Upstream,
    secret: &Secret<Vec<u8>>,
) -> Result<StoredCredential, Fault> {
    let mut raw = zeroize::Zeroizing::new([0; DATA_KEY_LEN]);
    entropy.fill(raw.as_mut())?;
    let key = Secret::new(*raw);
    let binding = upstream.binding();
    let sealed = SealKey::new(&key)?.seal(entropy, binding.as_bytes(), secret.expose())?;
    Ok(StoredCredential {
        upstream: upstream.id,
        version: upstream.version,
        wrapped_key: keys
            .data_key_seal((USE, &subject(upstream)), key.expose(), entropy)?
            .to_vec(),
        sealed,
    })
}

/// What a gateway gets: the sealed credential and its data key. Whether it opens for what the
/// gateway knows of the upstream, the gateway sees.
pub(super) fn open(
    keys: &KeyStore,
    upstream: &Upstream,
    stored: StoredCredential,
) -> Result<CredentialLease, Fault> {
    let key = keys.data_key_open((USE, &subject(upstream)), &stored.wrapped_key);
    let unopened = |_| {
        let name = &upstream.name;
        Fault::Inconsistent(format!("the data key of upstream `{name}` does not open"))
    };
    Ok(CredentialLease {
        sealed: stored.sealed,
        key: Secret::new(key.map_err(unopened)?.expose().to_vec()),
    })
}

fn subject(upstream: &Upstream) -> String {
    format!("{}/{}", upstream.id, upstream.version)
}
