use std::os::unix::fs::PermissionsExt;

use aims_types::ambient::SystemEntropy;
use tempfile::TempDir;

use super::*;
use crate::UnsafeFile;

const ONE: Id<Key> = Id::from_u128(1);
const TWO: Id<Key> = Id::from_u128(2);

struct World {
    root: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            root: TempDir::new().unwrap(),
        };
        MasterKey::create(&world.master(), &SystemEntropy).unwrap();
        world
    }

    fn master(&self) -> PathBuf {
        self.root.path().join("master.key")
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("keys")
    }

    fn file(&self, id: Id<Key>) -> PathBuf {
        self.directory().join(file_name(id))
    }

    fn open(&self) -> Result<KeyStore, OpenStoreError> {
        let master = MasterKey::load(&self.master()).unwrap();
        KeyStore::open(&self.directory(), master, &SystemEntropy)
    }
}

fn create(store: &KeyStore, id: Id<Key>) -> PublicKey {
    store
        .create(id, Purpose::Token, Alg::Es256, &SystemEntropy)
        .unwrap()
}

#[test]
fn keys_survive_a_restart() {
    let world = World::new();
    let store = world.open().unwrap();
    let token = create(&store, ONE);
    let log = store
        .create(TWO, Purpose::Log, Alg::Ed25519, &SystemEntropy)
        .unwrap();
    drop(store);
    let store = world.open().unwrap();
    let expected = [
        KeyInfo {
            id: ONE,
            purpose: Purpose::Token,
            public: token,
        },
        KeyInfo {
            id: TWO,
            purpose: Purpose::Log,
            public: log,
        },
    ];
    assert_eq!(store.list().unwrap(), expected);
    let loaded = store.load(TWO).unwrap();
    assert_eq!(loaded.info, expected[1]);
    let signature = loaded.key.sign(b"m").unwrap();
    assert!(log.verify(b"m", &signature).is_ok());
}

#[test]
fn files_are_private_and_do_not_hold_the_key_in_the_clear() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.file(ONE)), 0o600);
    assert_eq!(mode(&world.directory()), 0o700);
    let plain = store.load(ONE).unwrap().key.to_pkcs8().unwrap();
    let file = fs::read(world.file(ONE)).unwrap();
    // The private scalar starts at byte 36 of a P-256 key in PKCS#8.
    let scalar = &plain.expose()[36..68];
    assert!(!file.windows(scalar.len()).any(|window| window == scalar));
}

#[test]
fn a_key_is_never_overwritten() {
    let world = World::new();
    let store = world.open().unwrap();
    let public = create(&store, ONE);
    let again = store.create(ONE, Purpose::Log, Alg::Ed25519, &SystemEntropy);
    assert!(matches!(again, Err(CreateKeyError::CallerExists(id)) if id == ONE));
    assert_eq!(store.load(ONE).unwrap().info.public, public);
    assert_eq!(store.names().unwrap().len(), 2, "no temporary file is left");
}

#[test]
fn a_destroyed_key_is_gone() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    store.destroy(ONE).unwrap();
    assert!(matches!(
        store.load(ONE),
        Err(LoadKeyError::CallerUnknown(id)) if id == ONE
    ));
    assert!(matches!(
        store.destroy(ONE),
        Err(DestroyKeyError::CallerUnknown(id)) if id == ONE
    ));
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn every_changed_byte_is_noticed() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    let good = fs::read(world.file(ONE)).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(world.file(ONE), &bad).unwrap();
        let loaded = store.load(ONE);
        assert!(
            matches!(
                loaded,
                Err(LoadKeyError::InternalMalformed(_)
                    | LoadKeyError::InternalSwapped { .. }
                    | LoadKeyError::InternalTampered(_))
            ),
            "byte {at}: {loaded:?}"
        );
    }
}

#[test]
fn a_changed_purpose_is_noticed() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    let text = fs::read_to_string(world.file(ONE)).unwrap();
    fs::write(
        world.file(ONE),
        text.replace("purpose: token", "purpose: log"),
    )
    .unwrap();
    assert!(matches!(
        store.load(ONE),
        Err(LoadKeyError::InternalTampered(id)) if id == ONE
    ));
}

#[test]
fn swapped_files_are_noticed() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    create(&store, TWO);
    let (one, two) = (
        fs::read_to_string(world.file(ONE)),
        fs::read_to_string(world.file(TWO)),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    fs::write(world.file(ONE), &two).unwrap();
    fs::write(world.file(TWO), &one).unwrap();
    assert!(matches!(
        store.load(ONE),
        Err(LoadKeyError::InternalSwapped { wanted, found }) if (wanted, found) == (ONE, TWO)
    ));
    // Also when the id in the clear is changed to fit.
    fs::write(
        world.file(ONE),
        two.replace(&TWO.to_string(), &ONE.to_string()),
    )
    .unwrap();
    assert!(matches!(
        store.load(ONE),
        Err(LoadKeyError::InternalTampered(id)) if id == ONE
    ));
    assert!(store.list().is_err());
}

#[test]
fn a_wrong_master_key_is_refused() {
    let world = World::new();
    create(&world.open().unwrap(), ONE);
    fs::remove_file(world.master()).unwrap();
    MasterKey::create(&world.master(), &SystemEntropy).unwrap();
    assert!(matches!(
        world.open(),
        Err(OpenStoreError::CallerWrongMaster(_))
    ));
    // Removing the check file does not help to get a foreign key accepted.
    fs::remove_file(world.directory().join(CHECK_FILE)).unwrap();
    assert!(matches!(
        world.open(),
        Err(OpenStoreError::InternalCheckMissing(_))
    ));
}

#[test]
fn a_master_key_inside_the_store_is_refused() {
    let world = World::new();
    drop(world.open().unwrap());
    let inside = world.directory().join("master.key");
    let master = MasterKey::create(&inside, &SystemEntropy).unwrap();
    let opened = KeyStore::open(&world.directory(), master, &SystemEntropy);
    assert!(matches!(opened, Err(OpenStoreError::CallerMasterInside(_))));
}

#[test]
fn a_directory_or_file_open_to_others_is_refused() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    chmod(&world.file(ONE), 0o644).unwrap();
    assert!(matches!(
        store.load(ONE),
        Err(LoadKeyError::InternalFile(FileError::Unsafe {
            why: UnsafeFile::Mode { mode: 0o644 },
            ..
        }))
    ));
    chmod(&world.directory(), 0o750).unwrap();
    assert!(matches!(
        world.open(),
        Err(OpenStoreError::InternalFile(FileError::Unsafe { .. }))
    ));
}

#[test]
fn what_a_crash_left_is_swept() {
    let world = World::new();
    drop(world.open().unwrap());
    let left = world
        .directory()
        .join(format!("{TEMPORARY_PREFIX}{}", file_name(ONE)));
    fs::write(&left, "half").unwrap();
    let store = world.open().unwrap();
    assert!(!left.exists());
    create(&store, ONE);
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let world = World::new();
    let store = world.open().unwrap();
    create(&store, ONE);
    fs::write(world.file(ONE), vec![b'x'; KEY_FILE_LEN_MAX + 1]).unwrap();
    assert!(matches!(
        store.load(ONE),
        Err(LoadKeyError::InternalFile(_))
    ));
}

#[test]
fn a_data_key_opens_only_for_its_context_under_its_master_key() {
    let (one, other) = (World::new(), World::new());
    let (store, foreign) = (one.open().unwrap(), other.open().unwrap());
    let key = Secret::new([7; 32]);
    let wrapped = store.wrap("upstream/a/1", &key, &SystemEntropy).unwrap();
    assert!(!wrapped.windows(8).any(|part| part == [7; 8]));
    assert_eq!(
        store.unwrap("upstream/a/1", &wrapped).unwrap().expose(),
        &[7; 32]
    );
    assert!(store.unwrap("upstream/a/2", &wrapped).is_err());
    assert!(foreign.unwrap("upstream/a/1", &wrapped).is_err());
    assert!(store.unwrap("upstream/a/1", &wrapped[1..]).is_err());
}
