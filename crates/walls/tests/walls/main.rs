//! The walls, attacked from inside by real programs.
//!
//! This binary is its own launcher and its own PID 1, so it has no test harness. Run by root, it
//! tries every claim as root and then once more as an unprivileged user.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a claim fails by panicking, and the binary has no test harness"
)]

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};

mod claims;
mod endings;
mod programs;
mod world;

use world::World;

/// An account without rights, for the second run.
const NOBODY: u32 = 65_534;

type Claim = (&'static str, fn(&World));

fn main() -> ExitCode {
    if let Some(code) = aims_walls::reexec_entry(std::env::args_os()) {
        return code;
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = world::entry(&args) {
        return code;
    }
    let all = [claims::ALL, endings::ALL, programs::ALL].concat();
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            for (name, _) in &all {
                say(&format!("{name}: test"));
            }
        }
        return ExitCode::SUCCESS;
    }
    let filter = args
        .iter()
        .find(|arg| !arg.to_string_lossy().starts_with('-'));
    let chosen: Vec<Claim> = all
        .into_iter()
        .filter(|(name, _)| filter.is_none_or(|text| name.contains(&*text.to_string_lossy())))
        .collect();
    run(&chosen, filter)
}

fn run(chosen: &[Claim], filter: Option<&OsString>) -> ExitCode {
    let root = rustix::process::geteuid().is_root();
    let who = if root { "root" } else { "unprivileged" };
    say(&format!("\nrunning {} tests as {who}", chosen.len()));
    if root {
        // Groups that nothing inside may keep.
        let groups = [0, 4, 27].map(nix::unistd::Gid::from_raw);
        nix::unistd::setgroups(&groups).unwrap();
    }
    let world = World::new();
    let (mut passed, mut failed) = (0, 0);
    for (name, claim) in chosen {
        if catch_unwind(AssertUnwindSafe(|| claim(&world))).is_ok() {
            passed += 1;
            say(&format!("test {who}::{name} ... ok"));
        } else {
            failed += 1;
            say(&format!("test {who}::{name} ... FAILED"));
        }
    }
    if root {
        if unprivileged(filter) {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         0 filtered out"
    ));
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The same claims by a user without rights, from a copy that it can read.
fn unprivileged(filter: Option<&OsString>) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("walls");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let status = Command::new("setpriv")
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .arg("--clear-groups")
        .arg(&copy)
        .args(filter)
        .current_dir(Path::new("/"))
        .status();
    status.is_ok_and(|status| status.success())
}

fn say(line: &str) {
    io::stdout()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}
