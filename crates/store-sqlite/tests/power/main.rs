//! What was acknowledged survives a power failure at any write.
//!
//! The test runs itself as a child that does a little of everything a store is for and says what
//! it was told. Every write, sync and name is noted, and from the notes is made what could be found
//! after a power failure at each of them. A harness of its own, because the child must be a
//! process of its own.

mod claims;
mod work;

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// The argument that makes this program the child.
const CHILD: &str = "work-and-say";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [_, CHILD, path, rounds, when] => {
            // Whoever traces this says when it may begin.
            std::io::stdin().read_exact(&mut [0])?;
            let work = work::work(Path::new(path), rounds.parse()?, *when == work::TOO_EARLY);
            tokio::runtime::Runtime::new()?.block_on(work)
        }
        // A test runner that asks for the list of tests gets none.
        [_, .., "--list"] | [_, "--list", ..] => Ok(()),
        _ if !aims_powerloss::SUPPORTED => Ok(writeln!(
            std::io::stdout(),
            "power: skipped, no tracing here"
        )?),
        [_, rest @ ..] => hold(rest.iter().find(|name| !name.starts_with('-')).copied()),
        [] => Ok(()),
    }
}

fn hold(filter: Option<&str>) -> Result<()> {
    for (name, claim) in claims::ALL {
        if filter.is_none_or(|part| name.contains(part)) {
            let found = claim().context(name)?;
            writeln!(std::io::stdout(), "power: {name}: {found}")?;
        }
    }
    Ok(())
}
