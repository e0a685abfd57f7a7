//! The fences around PID 1 and all that it starts: limits, no capability, no new privileges,
//! Landlock, the filter of system calls.

use std::path::Path;

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

use super::{filter, hide_self, root};
use crate::fault::{Fault, Feature};
use crate::plan::{GENERATED, Plan};

/// Processes and threads that belong to the walls: the launcher, PID 1 and its watching thread.
const OWN_PROCESSES: u64 = 3;
/// The versions of Landlock that differ in what they enforce, best first.
const ABIS: [ABI; 6] = [ABI::V7, ABI::V6, ABI::V5, ABI::V3, ABI::V2, ABI::V1];

/// Raises all fences, in the order in which the later ones forbid what the earlier ones need.
pub(super) fn raise(plan: &Plan) -> Result<(), Fault> {
    limits(plan)?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| Fault::feature(Feature::NoNewPrivileges, error))?;
    hide_self()?;
    landlock(plan)?;
    filter::apply().map_err(|error| Fault::feature(Feature::Seccomp, error))
}

fn limits(plan: &Plan) -> Result<(), Fault> {
    let wanted = [
        (Resource::Core, 0),
        (Resource::Nofile, plan.limits.open_files),
        (Resource::Nproc, plan.limits.processes + OWN_PROCESSES),
        (Resource::Fsize, plan.limits.file_bytes),
    ];
    for (resource, value) in wanted {
        // A lower limit of the caller stays.
        let now = rustix::process::getrlimit(resource)
            .maximum
            .unwrap_or(u64::MAX);
        let value = Some(value.min(now));
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: value,
                maximum: value,
            },
        )
        .map_err(|error| Fault::step("limit resources", error))?;
    }
    Ok(())
}

/// The bounding set goes first: emptying it needs a capability.
fn drop_capabilities() -> Result<(), Fault> {
    let fault = |error| Fault::feature(Feature::Capabilities, error);
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability).map_err(fault)?;
    }
    let sets = [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ];
    for set in sets {
        caps::clear(None, set).map_err(fault)?;
    }
    for set in sets.into_iter().chain([CapSet::Bounding]) {
        if !caps::read(None, set).map_err(fault)?.is_empty() {
            return Err(Fault::feature(Feature::Capabilities, "a set is not empty"));
        }
    }
    Ok(())
}

fn landlock(plan: &Plan) -> Result<(), Fault> {
    let fault = |reason: &dyn std::fmt::Display| Fault::feature(Feature::Landlock, reason);
    let (abi, ruleset) = ruleset().map_err(|error| fault(&error))?;
    let mut rules = Rules { abi, ruleset };
    let read = BitFlags::from(AccessFs::ReadFile) | AccessFs::ReadDir;
    // The root holds only what was put there; listing it shows nothing else.
    rules.allow(Path::new("/"), AccessFs::ReadDir.into())?;
    rules.allow(Path::new("/proc"), read)?;
    rules.allow(Path::new("/tmp"), read | rules.writing())?;
    for device in root::DEVICES {
        rules.allow(Path::new(device), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    for path in GENERATED
        .iter()
        .filter(|path| !root::declared(plan, Path::new(path)))
    {
        rules.allow(Path::new(path), AccessFs::ReadFile.into())?;
    }
    for bind in &plan.binds {
        let mut access = read;
        if bind.executable {
            access |= AccessFs::Execute;
        }
        if bind.writable {
            access |= rules.writing();
        }
        rules.allow(&bind.to, access)?;
    }
    for copy in &plan.copies {
        let execute = if copy.executable {
            AccessFs::Execute.into()
        } else {
            BitFlags::EMPTY
        };
        rules.allow(&copy.to, execute | AccessFs::ReadFile)?;
    }
    let status = rules
        .ruleset
        .restrict_self()
        .map_err(|error| fault(&error))?;
    if status.ruleset == RulesetStatus::FullyEnforced {
        Ok(())
    } else {
        Err(fault(&"it is not fully enforced"))
    }
}

/// The ruleset of the best version that this kernel has in full.
fn ruleset() -> Result<(ABI, RulesetCreated), landlock::RulesetError> {
    let mut last = None;
    for abi in ABIS {
        match ruleset_of(abi) {
            Ok(created) => return Ok((abi, created)),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error),
        None => ruleset_of(ABI::V1).map(|created| (ABI::V1, created)),
    }
}

fn ruleset_of(abi: ABI) -> Result<RulesetCreated, landlock::RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    let scopes = Scope::from_all(abi);
    if scopes.is_empty() {
        ruleset.create()
    } else {
        ruleset.scope(scopes)?.create()
    }
}

struct Rules {
    abi: ABI,
    ruleset: RulesetCreated,
}

impl Rules {
    /// Writing of every kind but making device nodes.
    fn writing(&self) -> BitFlags<AccessFs> {
        let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
        AccessFs::from_write(self.abi) & !devices
    }

    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), Fault> {
        let fault = |reason: &dyn std::fmt::Display| Fault::path("fence", path, reason);
        let found = std::fs::metadata(path).map_err(|error| fault(&error))?;
        let fitting = if found.is_dir() {
            access
        } else {
            access & AccessFs::from_file(self.abi)
        };
        let fd = PathFd::new(path).map_err(|error| fault(&error))?;
        (&mut self.ruleset)
            .add_rule(PathBeneath::new(fd, fitting))
            .map(drop)
            .map_err(|error| fault(&error))
    }
}
