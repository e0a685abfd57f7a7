//! Launches by a real node in real walls, attacked by those who ask for them and from inside.
//!
//! This binary is its own launcher, its own PID 1 and its own command, so it has no test harness.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a claim fails by panicking, and the binary has no test harness"
)]

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};

mod claims;
mod peers;
mod world;

fn main() -> ExitCode {
    if let Some(code) = aims_walls::reexec_entry(std::env::args_os()) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = world::entry(&args) {
        return code;
    }
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            for (name, _) in claims::ALL {
                say(&format!("{name}: test"));
            }
        }
        return ExitCode::SUCCESS;
    }
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let chosen = claims::ALL
        .iter()
        .filter(|(name, _)| filter.is_none_or(|text| name.contains(text.as_str())));
    let mut held = true;
    for (name, claim) in chosen {
        // Few threads that may block: no claim may need one for each instance.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .enable_all()
            .build()
            .unwrap();
        let ok = catch_unwind(AssertUnwindSafe(|| runtime.block_on(claim()))).is_ok();
        runtime.shutdown_background();
        held &= ok;
        say(&format!(
            "test {name} ... {}",
            if ok { "ok" } else { "FAILED" }
        ));
    }
    if held && (!world::is_root() || unprivileged(filter)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The same claims by a user without rights, from a copy that it can read.
fn unprivileged(filter: Option<&String>) -> bool {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    say("and as an unprivileged user:");
    let dir = tempfile::tempdir().unwrap();
    let open = || std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open()).unwrap();
    let copy = dir.path().join("launches");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, open()).unwrap();
    let mut command = Command::new(copy);
    command
        .args(filter)
        .current_dir("/")
        .uid(world::NOBODY)
        .gid(world::NOBODY);
    command.status().is_ok_and(|status| status.success())
}

fn say(line: &str) {
    io::stdout()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}
