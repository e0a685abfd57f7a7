use super::*;

fn tree(dir: &Path) -> (PathBuf, Digest) {
    let root = dir.join("source");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/run"), "#!/bin/sh\n").unwrap();
    mode(&root.join("bin/run"), 0o700).unwrap();
    fs::write(root.join("data"), "data").unwrap();
    mode(&root.join("data"), 0o600).unwrap();
    symlink("../bin/run", root.join("bin/again")).unwrap();
    symlink("/usr/bin/env", root.join("bin/outside")).unwrap();
    let digest = measure::measure_tree(&root).unwrap().digest;
    (root, digest)
}

fn bits(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_staged_tree_is_the_measured_one_and_readable_by_all() {
    let dir = tempfile::tempdir().unwrap();
    let (root, digest) = tree(dir.path());
    let stage = Stage::open(dir.path().join("store")).unwrap();
    let staged = stage.put_tree(&root, &digest).unwrap();
    assert_eq!(staged.digest, digest);
    assert_eq!(measure::measure_tree(&staged.path).unwrap().digest, digest);
    assert!(staged.path.ends_with(format!("{}/tree", digest.to_hex())));
    assert_eq!(bits(&staged.path), 0o555);
    assert_eq!(bits(&staged.path.join("bin")), 0o555);
    assert_eq!(bits(&staged.path.join("bin/run")), 0o555);
    assert_eq!(bits(&staged.path.join("data")), 0o444);
    let link = fs::read_link(staged.path.join("bin/outside")).unwrap();
    assert_eq!(link, Path::new("/usr/bin/env"));
}

#[test]
fn staging_again_needs_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let (root, digest) = tree(dir.path());
    let stage = Stage::open(dir.path().join("store")).unwrap();
    let first = stage.put_tree(&root, &digest).unwrap();
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(stage.put_tree(&root, &digest).unwrap(), first);
}

#[test]
fn a_changed_source_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (root, expected) = tree(dir.path());
    fs::write(root.join("data"), "edited").unwrap();
    let stage = Stage::open(dir.path().join("store")).unwrap();
    let error = stage.put_tree(&root, &expected).unwrap_err();
    assert!(matches!(error, StageError::Changed { .. }), "{error}");
    let data = root.join("data");
    let error = stage.put_file(&data, &expected).unwrap_err();
    assert!(matches!(error, StageError::Changed { .. }), "{error}");
    let kept = dir.path().join("store/kept");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("store")).unwrap().count(), 1);
}

#[test]
fn nobody_else_walks_into_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    Stage::open(&store).unwrap();
    assert_eq!((bits(&store), bits(&store.join("kept"))), (0o700, 0o755));
}

/// Whoever can rename what lies there could put something else in place of what was measured.
#[test]
fn a_store_that_another_user_can_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, bits: u32| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        mode(&path, bits).unwrap();
        path
    };
    let writable = make("writable", 0o777);
    let sticky = make("sticky", 0o1777);
    let linked = make("linked", 0o755);
    symlink(&sticky, linked.join("kept")).unwrap();
    for refused in [&writable, &writable.join("below"), &sticky, &linked] {
        let error = Stage::open(refused).unwrap_err();
        assert!(matches!(error, StageError::Shared(_)), "{refused:?}");
    }
    assert_eq!(bits(&sticky), 0o1777);
    Stage::open(sticky.join("below")).unwrap();
    if rustix::process::geteuid().is_root() {
        let foreign = make("foreign", 0o755);
        std::os::unix::fs::chown(&foreign, Some(65_534), Some(65_534)).unwrap();
        for refused in [foreign.clone(), foreign.join("below")] {
            let error = Stage::open(refused).unwrap_err();
            assert!(matches!(error, StageError::Shared(_)), "{error}");
        }
    }
}

#[test]
fn a_changed_store_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (root, digest) = tree(dir.path());
    let stage = Stage::open(dir.path().join("store")).unwrap();
    let staged = stage.put_tree(&root, &digest).unwrap();
    mode(&staged.path.join("data"), 0o644).unwrap();
    fs::write(staged.path.join("data"), "edited").unwrap();
    let error = stage.put_tree(&root, &digest).unwrap_err();
    assert!(matches!(error, StageError::Corrupt(_)), "{error}");
}

#[test]
fn files_keep_only_their_exec_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (root, _) = tree(dir.path());
    let stage = Stage::open(dir.path().join("store")).unwrap();
    let put = |name: &str| {
        let path = root.join(name);
        stage.put_file(&path, &measure::measure_file(&path).unwrap().0)
    };
    let program = put("bin/run").unwrap();
    let data = put("data").unwrap();
    assert_eq!((bits(&program.path), bits(&data.path)), (0o555, 0o444));
    assert_eq!(
        data.digest,
        measure::measure_file(&root.join("data")).unwrap().0
    );
    assert_eq!(put("data").unwrap(), data);
    assert!(
        stage
            .put_file(&root.join("bin/again"), &program.digest)
            .is_err()
    );
    let left = fs::read_dir(dir.path().join("store/kept"))
        .unwrap()
        .flatten();
    assert!(left.into_iter().all(|entry| entry.file_name().len() == 64));
}
