//! Log entries and the bundles they are served in (c2sp.org/tlog-tiles, "Log entries").

use crate::tile::TILE_WIDTH;

/// Longest entry: its length is written as 16 bits.
pub const ENTRY_LEN_MAX: usize = 65_535;

/// One record of the log, short enough for a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry(Vec<u8>);

/// The entry does not fit a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {len} bytes is too long; at most {ENTRY_LEN_MAX} fit")]
pub struct EntryTooLong {
    /// How long it is.
    pub len: usize,
}

/// Why bytes are no entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The last entry is shorter than its length says.
    #[error("the entry bundle ends within an entry")]
    Truncated,
    /// There are more entries than a bundle has.
    #[error("the entry bundle has more than {TILE_WIDTH} entries")]
    TooMany,
}

impl Entry {
    /// The entry with these bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, EntryTooLong> {
        if bytes.len() > ENTRY_LEN_MAX {
            return Err(EntryTooLong { len: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds the length and the bytes to a bundle.
    pub(crate) fn write_to(&self, bundle: &mut Vec<u8>) {
        // INVARIANT: the constructor bounds the length.
        let len = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(&self.0);
    }
}

impl TryFrom<Vec<u8>> for Entry {
    type Error = EntryTooLong;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        Self::new(bytes)
    }
}

/// The bytes of a bundle of `entries`.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for entry in entries {
        entry.write_to(&mut bundle);
    }
    bundle
}

/// The entries of a bundle.
pub fn decode_bundle(bundle: &[u8]) -> Result<Vec<Entry>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        if entries.len() >= usize::from(TILE_WIDTH) {
            return Err(BundleError::TooMany);
        }
        let (len, body) = rest
            .split_first_chunk::<2>()
            .ok_or(BundleError::Truncated)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, tail) = body.split_at_checked(len).ok_or(BundleError::Truncated)?;
        entries.push(Entry(entry.to_vec()));
        rest = tail;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_bounded_by_their_length_field() {
        assert!(Entry::new(vec![0; ENTRY_LEN_MAX]).is_ok());
        assert_eq!(
            Entry::new(vec![0; 65_536]),
            Err(EntryTooLong { len: 65_536 })
        );
    }

    #[test]
    fn refuses_cut_and_overfull_bundles() {
        assert_eq!(decode_bundle(&[0]), Err(BundleError::Truncated));
        assert_eq!(decode_bundle(&[0, 2, 1]), Err(BundleError::Truncated));
        assert_eq!(
            decode_bundle(&[0; 512]).map(|entries| entries.len()),
            Ok(256)
        );
        assert_eq!(decode_bundle(&[0; 514]), Err(BundleError::TooMany));
    }

    proptest! {
        #[test]
        fn bundles_round_trip(
            bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let entries = bytes.into_iter().map(|entry| Entry::new(entry).unwrap());
            let entries: Vec<_> = entries.collect();
            prop_assert_eq!(decode_bundle(&encode_bundle(&entries)), Ok(entries));
        }

        #[test]
        fn any_bytes_decode_to_what_encodes_to_them_or_to_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            if let Ok(entries) = decode_bundle(&bytes) {
                prop_assert_eq!(encode_bundle(&entries), bytes);
            }
        }
    }
}
