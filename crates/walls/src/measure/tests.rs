use std::fs::Permissions;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use aims_crypto::sha256;
use proptest::prelude::*;

use super::*;

fn sample() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/one"), "1").unwrap();
    fs::write(dir.path().join("two"), "22").unwrap();
    symlink("a/one", dir.path().join("link")).unwrap();
    dir
}

#[test]
fn a_file_has_the_digest_of_its_bytes() {
    let dir = sample();
    let (digest, bytes) = measure_file(&dir.path().join("two")).unwrap();
    assert_eq!((digest, bytes), (sha256(b"22"), 2));
}

#[test]
fn a_tree_has_one_digest_wherever_it_lies() {
    let (one, other) = (sample(), sample());
    let tree = measure_tree(one.path()).unwrap();
    assert_eq!(tree, measure_tree(other.path()).unwrap());
    assert_eq!((tree.files, tree.bytes, tree.executable), (2, 3, false));
}

#[test]
fn every_change_of_a_tree_changes_its_digest() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("content", |root| fs::write(root.join("two"), "23").unwrap()),
        ("exec bit", |root| {
            fs::set_permissions(root.join("two"), Permissions::from_mode(0o744)).unwrap();
        }),
        ("name", |root| {
            fs::rename(root.join("two"), root.join("three")).unwrap();
        }),
        ("place", |root| {
            fs::rename(root.join("two"), root.join("a/two")).unwrap();
        }),
        ("new directory", |root| {
            fs::create_dir(root.join("b")).unwrap();
        }),
        ("new file", |root| fs::write(root.join("b"), "").unwrap()),
        ("link target", |root| {
            fs::remove_file(root.join("link")).unwrap();
            symlink("two", root.join("link")).unwrap();
        }),
        ("link to file", |root| {
            fs::remove_file(root.join("link")).unwrap();
            fs::write(root.join("link"), "a/one").unwrap();
        }),
    ];
    let before = measure_tree(sample().path()).unwrap();
    for (what, change) in changes {
        let dir = sample();
        change(dir.path());
        assert_ne!(
            measure_tree(dir.path()).unwrap().digest,
            before.digest,
            "{what}"
        );
    }
}

#[test]
fn sockets_links_and_depth_are_refused() {
    let dir = sample();
    let link = measure_file(&dir.path().join("link")).unwrap_err();
    assert!(matches!(link, MeasureError::Special(_)), "{link}");
    let root = measure_tree(&dir.path().join("two")).unwrap_err();
    assert!(matches!(root, MeasureError::Special(_)), "{root}");
    let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
    let socket = measure_tree(dir.path()).unwrap_err();
    assert!(matches!(socket, MeasureError::Special(_)), "{socket}");
    let deep = tempfile::tempdir().unwrap();
    fs::create_dir_all(deep.path().join("d/".repeat(TREE_DEPTH_MAX))).unwrap();
    let deep = measure_tree(deep.path()).unwrap_err();
    assert!(
        matches!(deep, MeasureError::TooLarge { what: "levels", .. }),
        "{deep}"
    );
}

#[test]
fn links_are_followed_one_by_one_and_named() {
    let dir = sample();
    let root = dir.path().canonicalize().unwrap();
    symlink("a", root.join("way")).unwrap();
    symlink(root.join("way/../link"), root.join("start")).unwrap();
    let resolved = resolve(&root.join("start")).unwrap();
    assert_eq!(resolved.real, root.join("a/one"));
    let at: Vec<_> = resolved.links.iter().map(|link| link.at.clone()).collect();
    assert_eq!(
        at,
        [root.join("start"), root.join("way"), root.join("link")]
    );
    assert_eq!(
        resolve(&root).unwrap(),
        Resolved {
            links: Vec::new(),
            real: root.clone()
        }
    );
    symlink("turn", root.join("turn")).unwrap();
    assert!(matches!(
        resolve(&root.join("turn")),
        Err(MeasureError::Links(_))
    ));
    for path in ["relative", "/usr/../etc"] {
        assert!(
            matches!(resolve(Path::new(path)), Err(MeasureError::Path(_))),
            "{path}"
        );
    }
}

#[test]
fn a_program_needs_its_loader_and_c_library() {
    let found = libraries(&std::env::current_exe().unwrap()).unwrap();
    let has = |text: &str| {
        found
            .iter()
            .any(|path| path.to_string_lossy().contains(text))
    };
    assert!(has("/ld-") && has("/libc."), "{found:?}");
    assert!(
        found
            .iter()
            .all(|path| path.is_absolute() && path.is_file()),
        "{found:?}"
    );
}

#[test]
fn a_file_that_claims_any_size_is_refused_at_once() {
    let dir = sample();
    let huge = dir.path().join("huge");
    let file = File::create(&huge).unwrap();
    file.set_len(TREE_BYTES_MAX + 1).unwrap();
    assert!(matches!(measure_file(&huge), Err(MeasureError::Io { .. })));
    assert!(measure_tree(dir.path()).is_err());
}

#[test]
fn only_regular_files_are_opened_and_links_to_them_followed() {
    let dir = sample();
    let root = dir.path().canonicalize().unwrap();
    symlink("a/one", root.join("to-file")).unwrap();
    symlink("/dev/zero", root.join("to-device")).unwrap();
    let fifo = root.join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    open_file(&root.join("to-file")).unwrap();
    for refused in ["to-device", "fifo", "a", "absent"] {
        assert!(open_file(&root.join(refused)).is_err(), "{refused}");
    }
}

#[test]
fn a_script_and_a_text_need_no_library() {
    let dir = sample();
    assert_eq!(
        libraries(&dir.path().join("two")).unwrap(),
        Vec::<PathBuf>::new()
    );
    assert_eq!(tree_libraries(dir.path()).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_module_in_a_tree_brings_its_libraries() {
    let dir = sample();
    fs::copy(
        std::env::current_exe().unwrap(),
        dir.path().join("a/module.so"),
    )
    .unwrap();
    fs::write(dir.path().join("a/broken.so"), b"\x7fELF\x02nothing").unwrap();
    let found = tree_libraries(dir.path()).unwrap();
    assert!(
        found.iter().any(|path| path.ends_with("libc.so.6")),
        "{found:?}"
    );
    assert!(measure_tree(dir.path()).unwrap().executable);
    assert!(libraries(&dir.path().join("a/broken.so")).is_err());
}

proptest! {
    #[test]
    fn a_damaged_elf_file_is_refused_or_read_but_never_a_panic(
        damage in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..64),
        length in 0_usize..8192,
    ) {
        let mut bytes = fs::read("/proc/self/exe").unwrap();
        bytes.truncate(length);
        for (at, byte) in damage {
            if let Some(slot) = bytes.get_mut(at.max(5)) {
                *slot = byte;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged");
        fs::write(&path, &bytes).unwrap();
        drop(elf::needs(&path));
    }
}
