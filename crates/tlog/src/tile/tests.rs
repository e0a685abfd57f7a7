use proptest::prelude::*;
use tlog_tiles::Tile;

use super::*;

#[test]
fn paths_have_one_spelling() {
    for good in [
        "tile/0/000",
        "tile/7/000.p/1",
        "tile/entries/x001/x234/067",
        "tile/3/x001/x234/067.p/255",
        "tile/entries/000.p/1",
    ] {
        let path: TilePath = good.parse().unwrap();
        assert_eq!(path.to_string(), good);
    }
    for bad in [
        "",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/00/000",
        "tile/8/000",
        "tile/64/000",
        "tile/-1/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/001/234",
        "tile/0/x001/x234",
        "tile/0/x000/234",
        "tile/0/x001//234",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/data/000",
        "tile/7/000",
        "tile/0/../000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(bad.parse::<TilePath>(), Err(TilePathError), "{bad}");
    }
}

#[test]
fn tiles_hold_only_complete_nodes() {
    let node = |level, index| Node { level, index };
    let path = |node, size| TilePath::of_node(node, size).map(|path| path.to_string());
    assert_eq!(path(node(0, 0), 1).as_deref(), Some("tile/0/000.p/1"));
    assert_eq!(path(node(8, 0), 256).as_deref(), Some("tile/1/000.p/1"));
    assert_eq!(path(node(7, 1), 256).as_deref(), Some("tile/0/000"));
    assert_eq!(path(node(0, 1), 1), None);
    assert_eq!(path(node(1, 1), 3), None);
    assert_eq!(path(node(8, 0), 255), None);
    assert_eq!(path(node(63, 1), u64::MAX), None);
    assert_eq!(
        path(node(63, 0), u64::MAX).as_deref(),
        Some("tile/7/000.p/255")
    );
}

#[test]
fn short_and_ragged_tiles_are_refused() {
    let path: TilePath = "tile/0/000.p/2".parse().unwrap();
    for len in [0, 32, 63, 65] {
        let files = BTreeMap::from([(path, vec![0; len])]);
        let found = TileHashes::new(&files, 2).hash(Node { level: 1, index: 0 });
        assert_eq!(found, Err(TileError::Malformed { path }), "{len}");
    }
}

proptest! {
    #[test]
    fn any_path_that_parses_prints_as_it_was(
        text in "tile/([0-9]{1,2}|entries)/(x[0-9]{3}/){0,6}[0-9]{3}(\\.p/[0-9]{1,3})?",
    ) {
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn changed_tiles_are_those_of_the_oracle(old in 0..200_000_u64, more in 0..2000_u64) {
        let new = old + more;
        let oracle: Vec<_> = Tile::new_tiles(8, old, new)
            .iter()
            .map(|tile| tile.path().replacen("tile/8/", "tile/", 1))
            .collect();
        let ours: Vec<_> = changed_tiles(old, new)
            .into_iter()
            .filter(|path| path.kind() != Kind::Entries)
            .map(|path| path.to_string())
            .collect();
        prop_assert_eq!(ours, oracle);
    }
}
