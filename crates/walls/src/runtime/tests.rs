use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn paths(declared: &[DeclaredPath]) -> Vec<&Path> {
    declared.iter().map(|entry| entry.path.as_path()).collect()
}

#[test]
fn a_program_comes_with_its_libraries_and_every_link() {
    let exe = std::env::current_exe().unwrap();
    let declared = closure(std::slice::from_ref(&exe)).unwrap();
    let mut plan = Plan::new(vec!["/x".to_owned()]);
    declare(&mut plan, &declared);
    for library in measure::libraries(&exe).unwrap() {
        let resolved = measure::resolve(&library).unwrap();
        assert!(
            paths(&declared).contains(&resolved.real.as_path()),
            "{library:?}"
        );
        for link in resolved.links {
            let wanted = Symlink {
                at: link.at,
                target: link.target,
            };
            assert!(plan.symlinks.contains(&wanted), "{wanted:?}");
        }
    }
    assert!(
        plan.binds
            .iter()
            .all(|bind| !bind.writable && bind.from == bind.to)
    );
    let libc = plan
        .binds
        .iter()
        .find(|bind| bind.to.ends_with("libc.so.6"))
        .unwrap();
    assert!(libc.executable);
}

#[test]
fn what_lies_in_a_declared_tree_is_not_declared_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("tree/inner")).unwrap();
    fs::write(root.join("tree/inner/data"), "data").unwrap();
    symlink("inner/data", root.join("tree/link")).unwrap();
    symlink("tree", root.join("alias")).unwrap();
    let named = ["tree", "tree/inner", "tree/link", "alias/inner/data"].map(|it| root.join(it));
    let declared = closure(&named).unwrap();
    assert_eq!(paths(&declared), [root.join("alias"), root.join("tree")]);
    assert!(matches!(&declared[1].what, Declared::Tree(tree) if !tree.executable));
}

#[test]
fn a_script_comes_with_its_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let script = root.join("script");
    fs::write(
        &script,
        format!("#! {} -I\n", std::env::current_exe().unwrap().display()),
    )
    .unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let declared = closure(&[script]).unwrap();
    let exe = std::env::current_exe().unwrap().canonicalize().unwrap();
    assert!(paths(&declared).contains(&exe.as_path()));
}

#[test]
fn declared_paths_survive_their_wire_form() {
    let declared = closure(&[std::env::current_exe().unwrap()]).unwrap();
    let text = serde_json::to_string(&declared).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<DeclaredPath>>(&text).unwrap(),
        declared
    );
}
