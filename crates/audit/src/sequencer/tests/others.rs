//! The log's files as implementations of others read them, which know nothing of AIMS: the crates
//! `signed_note` and `tlog_tiles`.

use std::fs;
use std::path::PathBuf;

use aims_model::Event;
use aims_tlog::SignedNote;
use signed_note::{Note, NoteError, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, Hash, Tile, TileHashReader, TileReader, check_record, check_tree,
    prove_record, prove_tree, record_hash,
};

use super::{denials, gateway, server_events, shipped};
use crate::testing::{Bench, keys, signer};

/// Hashes in a full tile are 2^8.
const HEIGHT: u8 = 8;
/// Entries in a full bundle.
const BUNDLE: u64 = 256;

/// A directory of tiles.
struct Files(PathBuf);

impl Files {
    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
    }

    /// The path of a tile: the crate names the height too, which the standard fixes (tlog-tiles,
    /// "Merkle Tree").
    fn path(tile: &Tile) -> String {
        tile.path().replacen("tile/8/", "tile/", 1)
    }

    /// The entry at `index` in a log of `size`, from its bundle (tlog-tiles, "Log Entries").
    fn entry(&self, index: u64, size: u64) -> Vec<u8> {
        let bundle = Tile::new(
            HEIGHT,
            0,
            index / BUNDLE,
            u32::try_from(BUNDLE.min(size - index / BUNDLE * BUNDLE)).unwrap(),
            true,
        );
        let path = Self::path(&bundle).replacen("/data/", "/entries/", 1);
        let bytes = self.read(&path);
        let mut rest = bytes.as_slice();
        for _ in 0..index % BUNDLE {
            rest = split(rest).1;
        }
        split(rest).0.to_vec()
    }
}

/// The first entry of a bundle, and what comes behind it.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_first_chunk::<2>().unwrap();
    rest.split_at(usize::from(u16::from_be_bytes(*length)))
}

impl TileReader for Files {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        Ok(tiles
            .iter()
            .map(|tile| self.read(&Self::path(tile)))
            .collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// What `signed_note` says of a note under a key, and what `tlog_tiles` reads in it.
fn opened(note: &SignedNote, key: &str) -> Result<Checkpoint, NoteError> {
    let note = Note::from_bytes(note.to_string().as_bytes())?;
    let verifier = StandardVerifier::new(key).unwrap();
    let (known, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)]))?;
    assert_eq!((known.len(), unknown.len()), (1, 0));
    Ok(Checkpoint::from_bytes(note.text()).unwrap())
}

/// A log on disk that has full tiles, partial ones and a second level, with an earlier checkpoint.
async fn grown() -> (Bench, SignedNote, SignedNote) {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    sequencer.fold().await.unwrap();
    let older = bench.checkpoint().await;
    let denials: Vec<Event> = denials(600);
    let records = shipped(gateway(), &denials);
    sequencer.take(gateway(), records).await.unwrap();
    let newer = bench.checkpoint().await;
    (bench, older, newer)
}

#[tokio::test]
async fn signed_notes_and_tiles_are_read_by_tools_that_are_not_ours() {
    let (bench, older, newer) = grown().await;
    let key = signer().verifier_key().to_string();
    let (older, newer) = (opened(&older, &key).unwrap(), opened(&newer, &key).unwrap());
    assert_eq!(newer.origin(), crate::testing::ORIGIN);
    let size = newer.size();
    assert!(size > 2 * BUNDLE && older.size() < BUNDLE && !size.is_multiple_of(BUNDLE));

    let files = Files(bench.dir.path().join("tiles"));
    let hashes = TileHashReader::new(size, *newer.hash(), &files);
    for index in (0..size).step_by(41).chain([BUNDLE - 1, BUNDLE, size - 1]) {
        let proof = prove_record(size, index, &hashes).unwrap();
        let leaf = record_hash(&files.entry(index, size));
        check_record(&proof, size, *newer.hash(), index, leaf).unwrap();
        let other = record_hash(b"{}");
        assert!(check_record(&proof, size, *newer.hash(), index, other).is_err());
    }
    let proof = prove_tree(size, older.size(), &hashes).unwrap();
    let older_than = |hash: Hash| check_tree(&proof, size, *newer.hash(), older.size(), hash);
    older_than(*older.hash()).unwrap();
    assert!(older_than(Hash([0; 32])).is_err());
}

#[tokio::test]
async fn tools_that_are_not_ours_notice_what_was_changed() {
    let (bench, _, newer) = grown().await;
    let key = signer().verifier_key().to_string();
    let head = opened(&newer, &key).unwrap();
    // Another key under the same name; a changed text under the same signature.
    let other = aims_crypto::Signer::public(&keys().grant);
    let other = aims_tlog::VerifierKey::new(
        signer().verifier_key().name().clone(),
        aims_tlog::KeyKind::Note,
        *other,
    );
    let unknown = opened(&newer, &other.unwrap().to_string());
    assert!(matches!(unknown, Err(NoteError::UnverifiedNote)));
    let smaller = newer.to_string().replace("\n6", "\n5");
    let forged = opened(&smaller.parse().unwrap(), &key);
    assert!(matches!(forged, Err(NoteError::InvalidSignature { .. })));

    // A hash in a tile: no proof that is made from it leads to the signed root.
    let files = Files(bench.dir.path().join("tiles"));
    let size = head.size();
    let leaf = record_hash(&files.entry(9, size));
    let proven = || {
        let hashes = TileHashReader::new(size, *head.hash(), &files);
        let proof = prove_record(size, 9, &hashes)?;
        check_record(&proof, size, *head.hash(), 9, leaf)
    };
    proven().unwrap();
    let path = files.0.join("tile/0/000");
    let mut tile = fs::read(&path).unwrap();
    tile[32 * 7] ^= 1;
    fs::write(&path, tile).unwrap();
    assert!(proven().is_err());
}
