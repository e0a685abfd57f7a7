//! What a plan must satisfy before anything is built.

use std::path::{Component, Path, PathBuf};

use super::{ARGV_MAX, BINDS_MAX, COPIES_MAX, ENV_MAX, HOST_UID_MIN, Limits, Network, Plan};

/// Directories that the builder makes itself; nothing may be placed at, above or below them.
const RESERVED: [&str; 3] = ["/proc", "/dev", "/tmp"];
/// Files that the builder writes itself unless the plan places something there.
pub(crate) const GENERATED: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/hosts"];

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to run.
    #[error("the plan names no program")]
    NoProgram,
    /// A path is relative, has `.` or `..`, or is the root.
    #[error("`{0}` is not an absolute path without `.` and `..`")]
    Path(PathBuf),
    /// A path belongs to the builder.
    #[error("`{0}` belongs to the walls; place it elsewhere")]
    Reserved(PathBuf),
    /// Two things claim the same place, or one lies inside the other.
    #[error("`{inner}` lies at or inside `{outer}`; declare one of them")]
    Overlap {
        /// The one declared first in path order.
        outer: PathBuf,
        /// The one inside it.
        inner: PathBuf,
    },
    /// Code could be written and then run.
    #[error("`{0}` is both writable and executable")]
    WritableCode(PathBuf),
    /// A string holds a zero byte or an environment name is malformed.
    #[error("`{0}` is not a valid argument or environment variable")]
    Text(String),
    /// Too many of something.
    #[error("the plan has {found} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A limit that no program could live with.
    #[error("limit `{0}` is zero or out of range")]
    Limit(&'static str),
    /// The door is only the instance's own if the network is.
    #[error("a door needs a network of its own; it can't be combined with the host's network")]
    DoorOnHostNetwork,
    /// Ports below 1024 are not for listeners without privileges.
    #[error("door port {0} is below 1024")]
    DoorPort(u16),
    /// Sources and copies are matched by position.
    #[error("{copies} copies are planned but {sources} open files were given")]
    Sources {
        /// Planned copies.
        copies: usize,
        /// Open files given.
        sources: usize,
    },
    /// Walls built by root would belong to root.
    #[error("the caller is root: the plan must reserve a host uid for the program")]
    HostUidMissing,
    /// Only root can take another uid.
    #[error("host uid {0} can't be taken by an unprivileged caller; leave it out")]
    HostUidUnprivileged(u32),
    /// The uid may belong to an account.
    #[error("host uid {0} is not in the reserved range; take one from 65536 to 4294967293")]
    HostUidRange(u32),
}

/// Checks `plan` for a caller with effective uid `caller`.
pub(crate) fn check(plan: &Plan, sources: usize, caller: u32) -> Result<(), PlanError> {
    texts(plan)?;
    let counts = [
        ("arguments", plan.argv.len(), ARGV_MAX),
        ("environment variables", plan.env.len(), ENV_MAX),
        ("binds", plan.binds.len(), BINDS_MAX),
        ("symbolic links", plan.symlinks.len(), BINDS_MAX),
        ("copies", plan.copies.len(), COPIES_MAX),
    ];
    for (what, found, max) in counts {
        if found > max {
            return Err(PlanError::TooMany { what, found, max });
        }
    }
    if plan.copies.len() != sources {
        return Err(PlanError::Sources {
            copies: plan.copies.len(),
            sources,
        });
    }
    limits(&plan.limits)?;
    host_uid(plan.host_uid, caller)?;
    door(plan)?;
    places(plan)
}

fn texts(plan: &Plan) -> Result<(), PlanError> {
    let program = plan.argv.first().ok_or(PlanError::NoProgram)?;
    plain(Path::new(program))?;
    plain_or_root(&plan.workdir)?;
    plan.stage.as_deref().map_or(Ok(()), plain_or_root)?;
    if let Some(bad) = plan.argv.iter().find(|text| text.contains('\0')) {
        return Err(PlanError::Text(bad.clone()));
    }
    let odd = |(name, value): &(&String, &String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    plan.env
        .iter()
        .find(odd)
        .map_or(Ok(()), |(name, _)| Err(PlanError::Text(name.clone())))
}

fn limits(limits: &Limits) -> Result<(), PlanError> {
    let named = [
        ("tmp_bytes", limits.tmp_bytes),
        ("root_bytes", limits.root_bytes),
        ("open_files", limits.open_files),
        ("processes", limits.processes),
        ("file_bytes", limits.file_bytes),
    ];
    // A tmpfs of size 0 has no limit at all, so zero is never what was meant.
    named
        .iter()
        .find(|(_, value)| *value == 0 || *value > u64::from(u32::MAX) << 16)
        .map_or(Ok(()), |(name, _)| Err(PlanError::Limit(name)))
}

fn host_uid(uid: Option<u32>, caller: u32) -> Result<(), PlanError> {
    match uid {
        None if caller == 0 => Err(PlanError::HostUidMissing),
        Some(uid) if caller != 0 => Err(PlanError::HostUidUnprivileged(uid)),
        Some(uid) if !(HOST_UID_MIN..u32::MAX - 1).contains(&uid) => {
            Err(PlanError::HostUidRange(uid))
        }
        _ => Ok(()),
    }
}

fn door(plan: &Plan) -> Result<(), PlanError> {
    let Some(door) = &plan.door else {
        return Ok(());
    };
    if plan.network == Network::Host {
        return Err(PlanError::DoorOnHostNetwork);
    }
    if door.tcp_port < 1024 {
        return Err(PlanError::DoorPort(door.tcp_port));
    }
    Ok(())
}

/// No two declared places may coincide or nest: what lies inside a bound tree is content of that
/// tree, where a planted symbolic link could lead the builder elsewhere.
fn places(plan: &Plan) -> Result<(), PlanError> {
    let mut places: Vec<&Path> = Vec::new();
    for bind in &plan.binds {
        plain_or_root(&bind.from)?;
        if bind.writable && bind.executable {
            return Err(PlanError::WritableCode(bind.to.clone()));
        }
        places.push(&bind.to);
    }
    places.extend(plan.copies.iter().map(|copy| copy.to.as_path()));
    places.extend(plan.symlinks.iter().map(|link| link.at.as_path()));
    places.extend(plan.door.iter().map(|door| door.unix_path.as_path()));
    for place in &places {
        plain(place)?;
        let reserved = |path: &&str| place.starts_with(path) || Path::new(path).starts_with(place);
        if RESERVED.iter().any(reserved) {
            return Err(PlanError::Reserved(place.to_path_buf()));
        }
    }
    places.sort_unstable();
    for pair in places.windows(2) {
        let [outer, inner] = pair else { continue };
        if inner.starts_with(outer) {
            return Err(PlanError::Overlap {
                outer: outer.to_path_buf(),
                inner: inner.to_path_buf(),
            });
        }
    }
    Ok(())
}

fn plain(path: &Path) -> Result<(), PlanError> {
    plain_or_root(path)?;
    if path.parent().is_none() {
        Err(PlanError::Path(path.to_path_buf()))
    } else {
        Ok(())
    }
}

fn plain_or_root(path: &Path) -> Result<(), PlanError> {
    let mut parts = path.components();
    let rooted = parts.next() == Some(Component::RootDir);
    let text = path.to_str().unwrap_or("\0");
    let spelled = !text.contains('\0') && !text.split('/').any(|part| part == "." || part == "..");
    if rooted && spelled && parts.all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    Err(PlanError::Path(path.to_path_buf()))
}
