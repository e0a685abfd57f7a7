//! The filter of system calls: a list of what may be called, everything else is `ENOSYS`.
//!
//! `ENOSYS` rather than an end: libraries probe for calls and fall back, `clone3` above all.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

mod calls;

/// Pushes characters into a terminal, as if they were typed.
const TIOCSTI: u64 = 0x5412;
/// Pastes the selection of a virtual console.
const TIOCLINUX: u64 = 0x541c;
/// Changes the line discipline of a terminal, which may load kernel modules.
const TIOCSETD: u64 = 0x5423;
/// Every `CLONE_NEW…` flag that `clone` takes.
const CLONE_NEW_ANY: u64 = 0x7e02_0000;
/// The bits of a socket's type that are not `SOCK_CLOEXEC` and `SOCK_NONBLOCK`.
const SOCK_TYPE_MASK: u64 = 0xf;
/// `memfd_create`: the file can never be made executable.
const MFD_NOEXEC_SEAL: u64 = 0x8;
/// `personality`: only asks.
const PERSONALITY_QUERY: u64 = 0xffff_ffff;

/// Why no filter was installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    /// The filter does not compile for this machine.
    #[error("{0}")]
    Compile(#[from] BackendError),
    /// The kernel refused it.
    #[error("{0}")]
    Install(#[from] seccompiler::Error),
}

pub(super) fn apply() -> Result<(), FilterError> {
    Ok(seccompiler::apply_filter(&program()?)?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls::ALLOWED
        .iter()
        .chain(calls::LEGACY)
        .map(|call| (*call, Vec::new()))
        .collect();
    rules.extend(guarded()?);
    let refusal = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(38));
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refusal, SeccompAction::Allow, arch)?.try_into()
}

/// Calls that depend on their arguments.
fn guarded() -> Result<[(i64, Vec<SeccompRule>); 6], BackendError> {
    let not = |value| is(1, SeccompCmpOp::Ne, value);
    Ok([
        (
            libc::SYS_ioctl,
            vec![SeccompRule::new(vec![
                not(TIOCSTI)?,
                not(TIOCLINUX)?,
                not(TIOCSETD)?,
            ])?],
        ),
        (
            libc::SYS_clone,
            vec![SeccompRule::new(vec![is(
                0,
                SeccompCmpOp::MaskedEq(CLONE_NEW_ANY),
                0,
            )?])?],
        ),
        (libc::SYS_socket, sockets()?),
        (
            libc::SYS_socketpair,
            vec![SeccompRule::new(vec![is(
                0,
                SeccompCmpOp::Eq,
                number(libc::AF_UNIX),
            )?])?],
        ),
        (
            libc::SYS_memfd_create,
            vec![SeccompRule::new(vec![is(
                1,
                SeccompCmpOp::MaskedEq(MFD_NOEXEC_SEAL),
                MFD_NOEXEC_SEAL,
            )?])?],
        ),
        (
            libc::SYS_personality,
            vec![SeccompRule::new(vec![is(
                0,
                SeccompCmpOp::Eq,
                PERSONALITY_QUERY,
            )?])?],
        ),
    ])
}

/// Streams and datagrams of three families, with the protocols that belong to them: no raw, packet,
/// netlink or vsock socket, no MPTCP or SCTP.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let kinds = [
        (libc::SOCK_STREAM, libc::IPPROTO_TCP),
        (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
    ];
    let mut rules = Vec::new();
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in kinds {
            for protocol in [0, protocol] {
                rules.push(SeccompRule::new(vec![
                    is(0, SeccompCmpOp::Eq, number(family))?,
                    is(1, SeccompCmpOp::MaskedEq(SOCK_TYPE_MASK), number(kind))?,
                    is(2, SeccompCmpOp::Eq, number(protocol))?,
                ])?);
            }
        }
    }
    Ok(rules)
}

/// The kernel looks at the lower half of these arguments only.
fn is(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

fn number(constant: i32) -> u64 {
    u64::from(constant.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_fits_the_kernel() {
        let length = program().unwrap().len();
        assert!(length < 4096, "{length}");
    }

    #[test]
    fn what_leads_out_is_never_on_the_list() {
        let refused = [
            libc::SYS_clone3,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_fsmount,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_pidfd_getfd,
            libc::SYS_memfd_secret,
            libc::SYS_process_madvise,
        ];
        for call in refused {
            assert!(!calls::ALLOWED.contains(&call), "{call}");
        }
        for (call, rules) in guarded().unwrap() {
            assert!(
                !calls::ALLOWED.contains(&call) && !rules.is_empty(),
                "{call}"
            );
        }
    }
}
