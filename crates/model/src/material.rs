//! What a decision used, as it leaves the enforcement point: sealed under a key of its task.
//!
//! The record of the decision carries a salted commitment. Salt and bytes are sealed together, for
//! exactly this task and commitment, so that nothing but the task's key is needed to read them, and
//! nothing is left of them when it is gone: without the salt, a commitment to arguments that can be
//! guessed says nothing.

use aims_crypto::{Hasher, OpenError, SealError, SealKey};
use aims_types::{Digest, Entropy, EntropyError, Id, Secret, Task};
use serde::{Deserialize, Serialize};

/// Length of a salt, in bytes.
pub const SALT_LEN: usize = 16;
/// Length of a task's key, in bytes.
pub const MATERIAL_KEY_LEN: usize = 32;
/// What the associated data of each seal begins with.
const CONTEXT: &str = "aims-material/1";

/// What a decision used, with the salt under which its record commits to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The salt.
    pub salt: [u8; SALT_LEN],
    /// The canonical bytes.
    pub bytes: Vec<u8>,
}

/// The key of a task's materials.
#[derive(Debug, Clone)]
pub struct MaterialKey(Secret<[u8; MATERIAL_KEY_LEN]>);

/// What an erasure did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The task.
    pub task: Id<Task>,
    /// How many decisions' materials went; `None` if they were erased before.
    pub materials: Option<u64>,
    /// Whether the key is in none of the server's files any more. Otherwise something that was
    /// under way still needed an older version of a page: erase again.
    pub scrubbed: bool,
}

/// What was sealed is not the material of this task and commitment, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// The seal does not open.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// What was sealed is not what the record commits to.
    #[error("the sealed message is not what the record commits to")]
    Other,
    /// The backend refused the key.
    #[error(transparent)]
    Backend(#[from] SealError),
}

impl Material {
    /// Bytes with a fresh salt.
    pub fn new(bytes: Vec<u8>, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut salt = [0; SALT_LEN];
        entropy.fill(&mut salt)?;
        Ok(Self { salt, bytes })
    }

    /// What the record says of it: SHA-256 of salt and bytes.
    pub fn commitment(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&self.salt);
        hasher.update(&self.bytes);
        hasher.finish()
    }
}

/// It holds arguments: `Debug` hides them.
impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl MaterialKey {
    /// A new key.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = [0; MATERIAL_KEY_LEN];
        entropy.fill(&mut key)?;
        Ok(Self(Secret::new(key)))
    }

    /// The key with these bytes.
    pub const fn new(key: Secret<[u8; MATERIAL_KEY_LEN]>) -> Self {
        Self(key)
    }

    /// The key's bytes, for who keeps it or hands it on.
    pub const fn expose(&self) -> &[u8; MATERIAL_KEY_LEN] {
        self.0.expose()
    }

    /// Seals a material of `task`.
    pub fn seal(
        &self,
        task: Id<Task>,
        material: &Material,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let plain = Secret::new([&material.salt[..], &material.bytes].concat());
        let context = context(task, &material.commitment());
        SealKey::new(&self.0)?.seal(entropy, context.as_bytes(), plain.expose())
    }

    /// Opens what was sealed for exactly this task and commitment, and checks that it is what the
    /// commitment says.
    pub fn open(
        &self,
        task: Id<Task>,
        commitment: &Digest,
        sealed: &[u8],
    ) -> Result<Material, MaterialError> {
        let context = context(task, commitment);
        let plain = SealKey::new(&self.0)?.open(context.as_bytes(), sealed)?;
        let (salt, bytes) = plain
            .expose()
            .split_first_chunk::<SALT_LEN>()
            .ok_or(MaterialError::Other)?;
        let material = Material {
            salt: *salt,
            bytes: bytes.to_vec(),
        };
        if material.commitment() == *commitment {
            Ok(material)
        } else {
            Err(MaterialError::Other)
        }
    }
}

fn context(task: Id<Task>, commitment: &Digest) -> String {
    format!("{CONTEXT}\ntask: {task}\ncommitment: {commitment}\n")
}

#[cfg(test)]
mod tests {
    use aims_types::ambient::SystemEntropy;
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> MaterialKey {
        MaterialKey::new(Secret::new([byte; MATERIAL_KEY_LEN]))
    }

    fn material(bytes: &[u8]) -> Material {
        Material::new(bytes.to_vec(), &SystemEntropy).unwrap()
    }

    #[test]
    fn a_material_opens_only_for_its_task_and_commitment_under_its_key() {
        let (task, other): (Id<Task>, Id<Task>) = (Id::from_u128(1), Id::from_u128(2));
        let (one, two) = (material(b"{\"path\":\"a\"}"), material(b"{\"path\":\"a\"}"));
        assert_ne!(one.commitment(), two.commitment(), "salts differ");
        let sealed = key(1).seal(task, &one, &SystemEntropy).unwrap();
        let open = |key: &MaterialKey, task, of: &Material, sealed: &[u8]| {
            key.open(task, &of.commitment(), sealed)
        };
        assert_eq!(open(&key(1), task, &one, &sealed), Ok(one.clone()));
        assert!(open(&key(2), task, &one, &sealed).is_err(), "another key");
        assert!(open(&key(1), other, &one, &sealed).is_err(), "another task");
        assert!(open(&key(1), task, &two, &sealed).is_err(), "another one");
        for cut in [0, 11, 28, sealed.len() - 1] {
            assert!(open(&key(1), task, &one, &sealed[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn what_is_sealed_for_a_commitment_that_it_does_not_meet_is_refused() {
        // Who has the key can seal anything; that it opens does not make it what was recorded.
        let (task, said) = (Id::from_u128(1), material(b"said").commitment());
        let seal = SealKey::new(&key(1).0).unwrap();
        for plain in [&b"0123456789abcdefother"[..], b"short"] {
            let sealed = seal.seal(&SystemEntropy, context(task, &said).as_bytes(), plain);
            let opened = key(1).open(task, &said, &sealed.unwrap());
            assert_eq!(opened, Err(MaterialError::Other));
        }
    }

    #[test]
    fn debug_output_says_nothing_of_key_or_material() {
        let shown = format!("{:?} {:?}", key(7), material(b"marker"));
        assert!(!shown.contains('7') && !shown.contains("marker"), "{shown}");
    }

    proptest! {
        #[test]
        fn materials_round_trip(bytes: Vec<u8>, task: u128) {
            let (task, one) = (Id::from_u128(task), material(&bytes));
            let sealed = key(3).seal(task, &one, &SystemEntropy).unwrap();
            prop_assert_eq!(key(3).open(task, &one.commitment(), &sealed), Ok(one));
        }
    }
}
