//! A stopped thread: its registers, its memory, and the call it is about to make.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace;
use nix::unistd::Pid;

use crate::{Call, Watch};

/// Longest path, the system's own limit.
const PATH_LEN_MAX: usize = 4096;
/// Text is read from memory in pieces that never reach into the next page.
const PAGE: u64 = 4096;
/// What the system puts behind the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// Calls that change files in a way that the model of a disk does not know.
const UNKNOWN: [c_long; 17] = [
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_truncate,
    libc::SYS_fallocate,
    libc::SYS_creat,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_sync_file_range,
    libc::SYS_msync,
    libc::SYS_io_uring_enter,
    libc::SYS_io_submit,
];

pub(super) struct Tracee {
    pid: Pid,
    registers: libc::user_regs_struct,
}

impl Tracee {
    pub(super) fn at(pid: Pid) -> Result<Self> {
        let registers = ptrace::getregs(pid)?;
        Ok(Self { pid, registers })
    }

    /// Whether the thread has ended.
    pub(super) fn is_gone(pid: Pid) -> bool {
        ptrace::getregs(pid) == Err(Errno::ESRCH)
    }

    /// The call that the thread stands before, if it matters.
    pub(super) fn call(&self, watch: Watch<'_>) -> Result<Option<Call>> {
        // Before a call this is what it would return if nobody answered it.
        if self.registers.rax.cast_signed() != -i64::from(Errno::ENOSYS as i32) {
            return Ok(None);
        }
        let number = self.registers.orig_rax.cast_signed();
        let [first, second, third, fourth] = [
            self.registers.rdi,
            self.registers.rsi,
            self.registers.rdx,
            self.registers.r10,
        ];
        let at_cwd = i64::from(libc::AT_FDCWD).cast_unsigned();
        match number {
            libc::SYS_write => self.write(watch, first, (second, third), None),
            libc::SYS_pwrite64 => self.write(watch, first, (second, third), Some(fourth)),
            libc::SYS_ftruncate => {
                let path = self.open_file(watch, first)?;
                Ok(path.map(|path| Call::Truncate { path, len: second }))
            }
            libc::SYS_fsync | libc::SYS_fdatasync => {
                let path = self.open_file(watch, first)?;
                Ok(path.map(|path| Call::Sync { path }))
            }
            libc::SYS_open => self.open(watch, (at_cwd, first), second),
            libc::SYS_openat => self.open(watch, (first, second), third),
            libc::SYS_unlink => self.remove(watch, (at_cwd, first), 0),
            libc::SYS_unlinkat => self.remove(watch, (first, second), third),
            libc::SYS_rename => self.rename(watch, (at_cwd, first), (at_cwd, second)),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                self.rename(watch, (first, second), (third, fourth))
            }
            libc::SYS_mkdir => self.make_dir(watch, (at_cwd, first)),
            libc::SYS_mkdirat => self.make_dir(watch, (first, second)),
            libc::SYS_mmap => self.map(watch, third, fourth),
            number if UNKNOWN.contains(&number) => {
                self.unknown(watch, &[first, second, third, fourth])
            }
            _ => Ok(None),
        }
    }

    fn write(
        &self,
        watch: Watch<'_>,
        fd: u64,
        (from, len): (u64, u64),
        offset: Option<u64>,
    ) -> Result<Option<Call>> {
        let path = self.open_file(watch, fd)?;
        if path.is_none() && (fd != 1 || offset.is_some()) {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        self.memory()?.read_exact_at(&mut bytes, from)?;
        Ok(Some(match path {
            None => {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                Call::Say { line }
            }
            Some(path) => {
                let offset = match offset {
                    Some(offset) => offset,
                    None => self.position(fd)?,
                };
                Call::Write {
                    path,
                    offset,
                    bytes,
                }
            }
        }))
    }

    fn open(&self, watch: Watch<'_>, at: (u64, u64), flags: u64) -> Result<Option<Call>> {
        let flags = i32::try_from(flags & 0xffff_ffff).unwrap_or(i32::MAX);
        if flags & (libc::O_CREAT | libc::O_TRUNC) == 0 {
            return Ok(None);
        }
        let Some((full, path)) = self.named(watch, at)? else {
            return Ok(None);
        };
        let create = flags & libc::O_CREAT != 0 && fs::symlink_metadata(&full).is_err();
        let truncate = flags & libc::O_TRUNC != 0;
        Ok(match (create, truncate) {
            (true, _) => Some(Call::Create { path }),
            (false, true) => Some(Call::Truncate { path, len: 0 }),
            (false, false) => None,
        })
    }

    fn remove(&self, watch: Watch<'_>, at: (u64, u64), flags: u64) -> Result<Option<Call>> {
        let Some((_, path)) = self.named(watch, at)? else {
            return Ok(None);
        };
        if flags != 0 {
            bail!("the program removes the directory `{}`", path.display());
        }
        Ok(Some(Call::Remove { path }))
    }

    fn rename(&self, watch: Watch<'_>, from: (u64, u64), to: (u64, u64)) -> Result<Option<Call>> {
        match (self.named(watch, from)?, self.named(watch, to)?) {
            (None, None) => Ok(None),
            (Some((_, from)), Some((_, to))) => Ok(Some(Call::Rename { from, to })),
            (from, to) => bail!("the program moves {from:?} to {to:?}"),
        }
    }

    fn make_dir(&self, watch: Watch<'_>, at: (u64, u64)) -> Result<Option<Call>> {
        let named = self.named(watch, at)?;
        Ok(named.map(|(_, path)| Call::MakeDir { path }))
    }

    /// Memory of a file that may be written would change the file unseen.
    fn map(&self, watch: Watch<'_>, protection: u64, flags: u64) -> Result<Option<Call>> {
        let has = |bits: u64, bit: i32| bits & u64::from(bit.unsigned_abs()) != 0;
        if !has(protection, libc::PROT_WRITE)
            || !has(flags, libc::MAP_SHARED)
            || has(flags, libc::MAP_ANONYMOUS)
        {
            return Ok(None);
        }
        self.unknown(watch, &[self.registers.r8])
    }

    /// Refuses a call that changes a file in a way the model does not know, whichever argument
    /// names the file.
    fn unknown(&self, watch: Watch<'_>, arguments: &[u64]) -> Result<Option<Call>> {
        for argument in arguments {
            let by_name = self.text(*argument).ok();
            let by_name =
                by_name.and_then(|name| below(watch, Path::new(OsStr::from_bytes(&name))));
            if let Some(path) = self.open_file(watch, *argument)?.or(by_name) {
                bail!(
                    "the program changes `{}` by call {}, which the model of the disk does not know",
                    path.display(),
                    self.registers.orig_rax
                );
            }
        }
        Ok(None)
    }

    /// The file that is open as `fd`, if it matters.
    fn open_file(&self, watch: Watch<'_>, fd: u64) -> Result<Option<PathBuf>> {
        let Ok(full) = fs::read_link(format!("/proc/{}/fd/{}", self.pid, fd.cast_signed())) else {
            return Ok(None);
        };
        let path = below(watch, &full);
        if let Some(path) = &path
            && path.as_os_str().to_string_lossy().ends_with(DELETED)
        {
            bail!("the program changes `{}`", path.display());
        }
        Ok(path)
    }

    /// The file with the name that lies in memory at `at.1`, from the directory `at.0` on: in full,
    /// and below the top.
    fn named(&self, watch: Watch<'_>, at: (u64, u64)) -> Result<Option<(PathBuf, PathBuf)>> {
        let name = self.text(at.1)?;
        let name = Path::new(OsStr::from_bytes(&name));
        let full = if name.is_absolute() {
            name.to_owned()
        } else {
            let from = match i32::try_from(at.0.cast_signed() << 32 >> 32)? {
                libc::AT_FDCWD => format!("/proc/{}/cwd", self.pid),
                fd => format!("/proc/{}/fd/{fd}", self.pid),
            };
            fs::read_link(from)?.join(name)
        };
        Ok(below(watch, &full).map(|path| (full, path)))
    }

    /// Where a file is written without saying where.
    fn position(&self, fd: u64) -> Result<u64> {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.pid))?;
        let line = info.lines().find_map(|line| line.strip_prefix("pos:"));
        match line.and_then(|position| position.trim().parse().ok()) {
            Some(position) => Ok(position),
            None => bail!("file {fd} has no position"),
        }
    }

    fn text(&self, mut from: u64) -> Result<Vec<u8>> {
        let memory = self.memory()?;
        let mut text = Vec::new();
        while text.len() < PATH_LEN_MAX {
            let mut piece = vec![0; usize::try_from(PAGE - from % PAGE)?];
            memory.read_exact_at(&mut piece, from)?;
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                text.extend(piece.iter().take(end));
                return Ok(text);
            }
            from += PAGE - from % PAGE;
            text.append(&mut piece);
        }
        bail!("a path has no end")
    }

    fn memory(&self) -> Result<File> {
        Ok(File::open(format!("/proc/{}/mem", self.pid))?)
    }

    /// The call will not be made.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.registers.orig_rax = u64::MAX;
        Ok(ptrace::setregs(self.pid, self.registers)?)
    }

    /// The call that was skipped returns an error.
    pub(super) fn fail(&mut self, errno: Errno) -> Result<()> {
        self.registers.rax = i64::from(-(errno as i32)).cast_unsigned();
        Ok(ptrace::setregs(self.pid, self.registers)?)
    }

    /// What the call returned, unless it failed.
    pub(super) fn returned(&self) -> Option<u64> {
        u64::try_from(self.registers.rax.cast_signed()).ok()
    }
}

/// The part of `path` below the top, if it is there and no shared memory.
fn below(watch: Watch<'_>, path: &Path) -> Option<PathBuf> {
    let inside = path.strip_prefix(watch.top).ok()?;
    let name = inside.as_os_str().to_string_lossy();
    let volatile = watch.volatile.iter().any(|ending| name.ends_with(ending));
    (!volatile).then(|| inside.to_owned())
}
