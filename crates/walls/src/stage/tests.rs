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
    assert_eq!(fs::read_dir(dir.path().join("store")).unwrap().count(), 0);
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
    let program = stage.put_file(&root.join("bin/run")).unwrap();
    let data = stage.put_file(&root.join("data")).unwrap();
    assert_eq!((bits(&program.path), bits(&data.path)), (0o555, 0o444));
    assert_eq!(
        data.digest,
        measure::measure_file(&root.join("data")).unwrap().0
    );
    assert_eq!(stage.put_file(&root.join("data")).unwrap(), data);
    assert!(stage.put_file(&root.join("bin/again")).is_err());
    let left = fs::read_dir(dir.path().join("store")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| entry.file_name().len() == 64));
}
