//! The root: a fresh tmpfs with what the plan names and nothing else.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use aims_crypto::Hasher;
use aims_types::Digest;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::fault::{Fault, Feature};
use crate::plan::{Bind, CopyIn, GENERATED, INSIDE_UID, Plan};

/// The only device nodes inside.
pub(super) const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// Files of proc that tell about the host or about keys.
const MASKED: [&str; 6] = [
    "/proc/keys",
    "/proc/key-users",
    "/proc/kallsyms",
    "/proc/kmsg",
    "/proc/timer_list",
    "/proc/kpagecount",
];
/// Directories of the host on which the new root may be mounted while it is built.
const MOUNT_POINTS: [&str; 4] = ["/tmp", "/mnt", "/var", "/usr"];
/// Inodes of each tmpfs, which cost kernel memory that `size=` does not count.
const INODES_MAX: u32 = 65_536;
const COPY_BUFFER: usize = 64 << 10;

/// A host path held open before the new root hides it.
struct Source {
    bind: Bind,
    fd: OwnedFd,
}

/// Builds the root and makes it the root. It is still writable until [`seal`].
pub(super) fn build(plan: &Plan, sources: Vec<OwnedFd>) -> Result<Vec<Digest>, Fault> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|error| Fault::feature(Feature::MountNamespaces, error))?;
    let binds = plan
        .binds
        .iter()
        .cloned()
        .map(|bind| open(bind, plan.stage.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let devices = DEVICES
        .iter()
        .map(|path| open(device(path), None))
        .collect::<Result<Vec<_>, _>>()?;
    let base = base(plan.limits.root_bytes)?;
    own_mounts(&base, plan)?;
    for source in &binds {
        place(&base, source, MountFlags::NODEV)?;
    }
    for source in &devices {
        place(&base, source, MountFlags::empty())?;
    }
    mask(&base, &devices)?;
    for link in &plan.symlinks {
        let at = within(&base, &link.at)?;
        symlink(&link.target, at).map_err(|error| Fault::path("link", &link.at, error))?;
    }
    let copied = plan.copies.iter().zip(sources);
    let copied = copied
        .map(|(copy, source)| copy_in(&base, copy, source))
        .collect::<Result<_, _>>();
    let copied = copied?;
    generated(&base, plan)?;
    if let Some(door) = &plan.door {
        within(&base, &door.unix_path)?;
    }
    pivot(&base)?;
    Ok(copied)
}

/// Makes the root read-only. What it holds can't be changed from then on, not even by its owner.
pub(super) fn seal() -> Result<(), Fault> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount_remount("/", flags, "")
        .map_err(|error| Fault::path("make read-only", "/", error))
}

fn device(path: &str) -> Bind {
    Bind {
        from: path.into(),
        to: path.into(),
        writable: true,
        executable: false,
    }
}

fn open(bind: Bind, stage: Option<&Path>) -> Result<Source, Fault> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // A symbolic link anywhere in the path could have been turned after it was measured.
    let mut resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // The launcher was started in the store, where this uid could not walk.
    let staged = stage.and_then(|stage| bind.from.strip_prefix(stage).ok());
    resolve.set(ResolveFlags::BENEATH, staged.is_some());
    let from = staged.unwrap_or(&bind.from);
    match rustix::fs::openat2(CWD, from, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Source { bind, fd }),
        Err(rustix::io::Errno::LOOP) => Err(Fault::path(
            "bind",
            bind.from,
            "it passes a symbolic link; give the real path",
        )),
        Err(error) => Err(Fault::path("bind", bind.from, error)),
    }
}

fn base(bytes: u64) -> Result<PathBuf, Fault> {
    let found = MOUNT_POINTS.iter().find(|path| Path::new(path).is_dir());
    let base = found.ok_or_else(|| Fault::step("mount the root", "no `/tmp` to mount it on"))?;
    tmpfs(Path::new(base), bytes, "0755", MountFlags::empty())?;
    Ok(PathBuf::from(base))
}

fn tmpfs(at: &Path, bytes: u64, mode: &str, extra: MountFlags) -> Result<(), Fault> {
    let fault = |error: &dyn std::fmt::Display| Fault::feature(Feature::Tmpfs, error);
    let data = format!("mode={mode},size={bytes},nr_inodes={INODES_MAX}");
    let data = CString::new(data).map_err(|error| fault(&error))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | extra;
    rustix::mount::mount("tmpfs", at, "tmpfs", flags, data.as_c_str())
        .map_err(|error| fault(&error))
}

/// `/tmp` and `/proc`. The kernel allows a new proc only while the host's is still in sight.
fn own_mounts(base: &Path, plan: &Plan) -> Result<(), Fault> {
    for name in ["tmp", "proc", "dev", "etc"] {
        fs::create_dir(base.join(name)).map_err(|error| Fault::path("create", name, error))?;
    }
    tmpfs(
        &base.join("tmp"),
        plan.limits.tmp_bytes,
        "1777",
        MountFlags::NOEXEC,
    )?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    rustix::mount::mount("proc", base.join("proc"), "proc", flags, None)
        .map_err(|error| Fault::feature(Feature::Proc, error))
}

/// The place of `to` under `base`, with its parents created.
fn within(base: &Path, to: &Path) -> Result<PathBuf, Fault> {
    let place = base.join(to.strip_prefix("/").unwrap_or(to));
    let parent = place.parent().unwrap_or(base);
    // Everything below `base` was made here: a declared symbolic link is never a parent, because
    // no two places of a plan nest.
    fs::create_dir_all(parent).map_err(|error| Fault::path("create", to, error))?;
    Ok(place)
}

fn place(base: &Path, source: &Source, device: MountFlags) -> Result<(), Fault> {
    let Source { bind, fd } = source;
    let to = within(base, &bind.to)?;
    let fault = |reason: &dyn std::fmt::Display| Fault::path("bind", &bind.from, reason);
    let stat = rustix::fs::fstat(fd).map_err(|error| fault(&error))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let made = match kind {
        rustix::fs::FileType::Directory => fs::create_dir(&to),
        rustix::fs::FileType::RegularFile => File::create_new(&to).map(drop),
        rustix::fs::FileType::CharacterDevice if device.is_empty() => {
            File::create_new(&to).map(drop)
        }
        _ => return Err(fault(&"it is neither a regular file nor a directory")),
    };
    made.map_err(|error| Fault::path("create", &bind.to, error))?;
    bind_fd(fd, &to).map_err(|error| match error {
        rustix::io::Errno::INVAL => fault(&"other file systems are mounted below it"),
        error => fault(&error),
    })?;
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | device;
    flags.set(MountFlags::RDONLY, !bind.writable);
    flags.set(MountFlags::NOEXEC, !bind.executable);
    rustix::mount::mount_remount(&to, flags, "").map_err(|error| match error {
        rustix::io::Errno::PERM => fault(&"the host's mount allows less (read-only or noexec)"),
        error => fault(&error),
    })
}

fn bind_fd(fd: &OwnedFd, to: &Path) -> Result<(), rustix::io::Errno> {
    rustix::mount::mount_bind(format!("/proc/self/fd/{}", fd.as_raw_fd()), to)
}

fn mask(base: &Path, devices: &[Source]) -> Result<(), Fault> {
    let Some(null) = devices.first() else {
        return Ok(());
    };
    // Without devices the mask can't even be opened.
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    for path in MASKED {
        let to = base.join(path.trim_start_matches('/'));
        if fs::symlink_metadata(&to).is_ok() {
            bind_fd(&null.fd, &to)
                .and_then(|()| rustix::mount::mount_remount(&to, flags, ""))
                .map_err(|error| Fault::path("mask", path, error))?;
        }
    }
    Ok(())
}

/// Copies and digests in one pass, so that what was digested is what runs.
fn copy_in(base: &Path, copy: &CopyIn, source: OwnedFd) -> Result<Digest, Fault> {
    let to = within(base, &copy.to)?;
    let found = copy_file(&File::from(source), &to, copy.executable)
        .map_err(|error| Fault::path("copy", &copy.to, error))?;
    match copy.expected {
        Some(expected) if expected != found => Err(Fault::Edited {
            to: copy.to.clone(),
            expected,
            found,
        }),
        _ => Ok(found),
    }
}

fn copy_file(source: &File, to: &Path, executable: bool) -> io::Result<Digest> {
    if !source.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; COPY_BUFFER];
    let mut offset = 0;
    loop {
        let count = match source.read_at(&mut buffer, offset) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        target.write_all(bytes)?;
        offset += u64::try_from(count).map_err(io::Error::other)?;
    }
    target.set_permissions(fs::Permissions::from_mode(if executable {
        0o555
    } else {
        0o444
    }))?;
    Ok(hasher.finish())
}

/// The three files without which common programs do not know who and where they are.
fn generated(base: &Path, plan: &Plan) -> Result<(), Fault> {
    let texts = [
        format!("aims:x:{INSIDE_UID}:{INSIDE_UID}::/tmp:/bin/false\n"),
        format!("aims:x:{INSIDE_UID}:\n"),
        "127.0.0.1 localhost aims\n::1 localhost aims\n".to_owned(),
    ];
    for (path, text) in GENERATED.iter().zip(texts) {
        if declared(plan, Path::new(path)) {
            continue;
        }
        let to = within(base, Path::new(path))?;
        fs::write(to, text).map_err(|error| Fault::path("write", *path, error))?;
    }
    Ok(())
}

/// Whether the plan itself places something at, or above, `path`.
pub(super) fn declared(plan: &Plan, path: &Path) -> bool {
    let binds = plan.binds.iter().map(|bind| &bind.to);
    let copies = plan.copies.iter().map(|copy| &copy.to);
    let links = plan.symlinks.iter().map(|link| &link.at);
    binds
        .chain(copies)
        .chain(links)
        .any(|place| path.starts_with(place))
}

/// Makes `base` the root and lets go of the host's.
fn pivot(base: &Path) -> Result<(), Fault> {
    let fault = |error: rustix::io::Errno| Fault::feature(Feature::PivotRoot, error);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).map_err(fault)?;
    rustix::process::chdir(base).map_err(fault)?;
    rustix::process::pivot_root(".", ".").map_err(fault)?;
    // Both roots are stacked at `/` now; the old one is reached through its descriptor.
    rustix::process::fchdir(&old).map_err(fault)?;
    drop(old);
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(fault)?;
    rustix::process::chdir("/").map_err(fault)
}
