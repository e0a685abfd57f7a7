//! From what lies on disk to evidence: the same measuring at registration and at each launch.

use std::path::{Path, PathBuf};

use aims_model::evidence::Measured;
use aims_walls::measure::{self, MeasureError};
use aims_walls::runtime::{DeclaredPath, closure};

/// Measures `paths` and everything that they need to run: links on the way, interpreters of
/// scripts, shared libraries.
pub fn measure_closure(paths: &[PathBuf]) -> Result<Vec<Measured>, MeasureError> {
    Ok(closure(paths)?.iter().map(measured).collect())
}

/// Measures one regular file, following links.
pub fn measure_file(path: &Path) -> Result<Measured, MeasureError> {
    let (digest, _) = measure::measure_file(&measure::resolve(path)?.real)?;
    Ok(Measured {
        path: path.display().to_string(),
        digest,
    })
}

/// What evidence says of a declared path.
pub fn measured(declared: &DeclaredPath) -> Measured {
    Measured {
        path: declared.path.display().to_string(),
        digest: declared.digest(),
    }
}
