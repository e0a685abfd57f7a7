//! Checks of the workspace that the compiler does not make: `cargo xtask layers | tidy | all`.

mod layers;
mod tidy;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let workspace = layers::Workspace::load()?;
    match std::env::args().nth(1).as_deref() {
        Some("layers") => layers::check(&workspace),
        Some("tidy") => tidy::check(&workspace),
        Some("all") => layers::check(&workspace).and_then(|()| tidy::check(&workspace)),
        _ => bail!("usage: cargo xtask layers | tidy | all"),
    }
}

/// Ends a check: every finding on a line of its own, or none.
fn conclude(check: &str, findings: &[String]) -> Result<()> {
    if findings.is_empty() {
        report(&format!("{check}: good"));
        return Ok(());
    }
    for finding in findings {
        report(&format!("{check}: {finding}"));
    }
    bail!("{check}: {} finding(s)", findings.len())
}

#[expect(clippy::print_stdout, reason = "what the check found is its output")]
fn report(line: &str) {
    println!("{line}");
}
