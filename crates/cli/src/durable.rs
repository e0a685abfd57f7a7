//! Small files that must be there after a crash, whole.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Nobody else reads them.
const FILE_MODE: u32 = 0o600;

/// Puts `bytes` in the place of what `path` was: when this returns they last, and at no moment is
/// there half of them.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let context = || path.display().to_string();
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true);
    let mut file = options
        .mode(FILE_MODE)
        .open(&beside)
        .with_context(context)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
        .with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    file.sync_all().with_context(context)?;
    fs::rename(&beside, path).with_context(context)?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_takes_the_place_of_the_old_and_nothing_is_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("member.json");
        for text in ["one", "another, longer", ""] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
