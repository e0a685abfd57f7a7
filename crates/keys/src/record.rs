//! The form of one key file: five lines in the clear, then the sealed key.
//!
//! ```text
//! aims-key/1
//! id: key_01jv5h7k8nq4xw2t9r3c6m0zya
//! purpose: token
//! public: ES256:BN…
//! sealed: …
//! ```
//!
//! Everything before the last line is the associated data of the seal, byte for byte.

use std::fmt::Write;

use aims_crypto::{PublicKey, base64url};
use aims_types::{Id, Key};

use crate::Purpose;

/// Longest key file that is read.
pub const KEY_FILE_LEN_MAX: usize = 4096;
/// First line of every key file.
const VERSION_LINE: &str = "aims-key/1";

/// What a stored key is, without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: Id<Key>,
    /// Its one use.
    pub purpose: Purpose,
    /// The public half; names the algorithm.
    pub public: PublicKey,
}

/// A key file: what it says in the clear, and what is sealed.
pub(crate) struct Record {
    pub(crate) info: KeyInfo,
    pub(crate) sealed: Vec<u8>,
}

impl KeyInfo {
    /// The lines in the clear: the associated data of the seal.
    pub(crate) fn header(&self) -> String {
        format!(
            "{VERSION_LINE}\nid: {}\npurpose: {}\npublic: {}\n",
            self.id, self.purpose, self.public
        )
    }
}

impl Record {
    pub(crate) fn to_text(&self) -> String {
        let mut text = self.info.header();
        let _ = writeln!(text, "sealed: {}", base64url::encode(&self.sealed));
        text
    }

    /// Reads the one spelling of a record; `None` for anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut field = |name: &str| lines.next()?.strip_prefix(name);
        if !field(VERSION_LINE)?.is_empty() {
            return None;
        }
        let id = field("id: ")?.parse().ok()?;
        let purpose = field("purpose: ")?.parse().ok()?;
        let public = field("public: ")?.parse().ok()?;
        let sealed = base64url::decode(field("sealed: ")?).ok()?;
        let record = Self {
            info: KeyInfo {
                id,
                purpose,
                public,
            },
            sealed,
        };
        lines.next().is_none().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use aims_crypto::{Alg, Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    fn sample(sealed: Vec<u8>) -> Record {
        let public = *SigningKey::generate(Alg::Ed25519).unwrap().public();
        Record {
            info: KeyInfo {
                id: Id::from_u128(7),
                purpose: Purpose::Log,
                public,
            },
            sealed,
        }
    }

    proptest! {
        #[test]
        fn records_round_trip(sealed: Vec<u8>) {
            let record = sample(sealed);
            let again = Record::parse(record.to_text().as_bytes()).unwrap();
            prop_assert_eq!(again.info, record.info);
            prop_assert_eq!(again.sealed, record.sealed);
        }

        #[test]
        fn a_changed_byte_never_gives_the_same_record(at in 0_usize..100, byte: u8) {
            let record = sample(vec![1, 2, 3]);
            let mut bytes = record.to_text().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            if let Some(again) = Record::parse(&bytes) {
                prop_assert!(again.info != record.info || again.sealed != record.sealed);
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = sample(vec![1]).to_text();
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            format!("{good}more: x\n"),
            good.replace('\n', "\r\n"),
            good.replace("aims-key/1", "aims-key/2"),
            good.replace("purpose: log", "purpose: root"),
            good.replace("sealed: ", "sealed:  "),
        ] {
            assert!(Record::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
