use std::fs;
use std::os::unix::fs::PermissionsExt;

use aims_types::ambient::SystemEntropy;
use tempfile::TempDir;

use super::*;
use crate::UnsafeFile;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn created() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("master.key");
    MasterKey::create(&path, &SystemEntropy).unwrap();
    (dir, path)
}

#[test]
fn a_created_key_loads_again_and_is_never_overwritten() {
    let (_dir, path) = created();
    let key = MasterKey::load(&path).unwrap();
    let again = MasterKey::create(&path, &SystemEntropy);
    assert!(matches!(again, Err(CreateMasterKeyError::CallerExists(_))));
    assert_eq!(
        MasterKey::load(&path).unwrap().secret.expose(),
        key.secret.expose()
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let (_dir, path) = created();
    for (mode, plain, credential) in [
        (0o600, true, true),
        (0o400, true, true),
        (0o440, false, rustix::process::geteuid().is_root()),
        (0o640, false, false),
        (0o604, false, false),
        (0o700, false, false),
        (0o620, false, false),
    ] {
        set_mode(&path, mode);
        assert_eq!(MasterKey::load(&path).is_ok(), plain, "{mode:o}");
        assert_eq!(
            MasterKey::load_credential(&path).is_ok(),
            credential,
            "{mode:o}"
        );
    }
}

#[test]
fn a_symbolic_link_and_a_directory_are_refused() {
    let (dir, path) = created();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for (path, why) in [
        (&link, UnsafeFile::SymbolicLink),
        (&dir.path().into(), UnsafeFile::NotRegular),
    ] {
        match MasterKey::load(path) {
            Err(LoadMasterKeyError::CallerFile(FileError::Unsafe { why: got, .. })) => {
                assert_eq!(got, why);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        MasterKey::create(&link, &SystemEntropy),
        Err(CreateMasterKeyError::CallerExists(_))
    ));
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (_dir, path) = created();
    std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
    for loaded in [MasterKey::load(&path), MasterKey::load_credential(&path)] {
        let Err(LoadMasterKeyError::CallerFile(FileError::Unsafe { why, .. })) = loaded else {
            panic!("loaded a key of another user");
        };
        assert_eq!(
            why,
            UnsafeFile::Owner {
                owner: 4242,
                wanted: 0
            }
        );
    }
}

#[test]
fn a_file_with_anything_but_one_key_is_refused() {
    let (_dir, path) = created();
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        String::new(),
        good.replace(MASTER_KEY_PREFIX, ""),
        format!("{good}\n"),
        format!(" {good}"),
        good.trim_end()
            .trim_end_matches(char::is_alphanumeric)
            .to_owned(),
        format!("{MASTER_KEY_PREFIX}QUJD"),
    ] {
        fs::write(&path, &bad).unwrap();
        let loaded = MasterKey::load(&path);
        assert!(
            matches!(loaded, Err(LoadMasterKeyError::CallerMalformed(_))),
            "{bad:?}"
        );
    }
    fs::write(&path, "x".repeat(65)).unwrap();
    assert!(matches!(
        MasterKey::load(&path),
        Err(LoadMasterKeyError::CallerFile(_))
    ));
    fs::write(&path, good.trim_end()).unwrap();
    assert!(MasterKey::load(&path).is_ok());
}

#[test]
fn contexts_give_independent_keys() {
    let (_dir, path) = created();
    let key = MasterKey::load(&path).unwrap();
    let sealed = key
        .derive("a")
        .unwrap()
        .seal(&SystemEntropy, b"", b"m")
        .unwrap();
    assert!(key.derive("a").unwrap().open(b"", &sealed).is_ok());
    assert!(key.derive("b").unwrap().open(b"", &sealed).is_err());
}

#[test]
fn debug_output_names_the_file_and_not_the_key() {
    let (_dir, path) = created();
    let text = fs::read_to_string(&path).unwrap();
    let debug = format!("{:?}", MasterKey::load(&path).unwrap());
    assert!(!debug.contains(text.trim().trim_start_matches(MASTER_KEY_PREFIX)));
}
