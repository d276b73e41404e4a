//! The system calls that a started program may not make, beyond what Landlock and the limits already forbid.
//!
//! Landlock looks at opening, making, moving and removing files. It does not look at changing modes, owners and times of files
//! by their path, at sockets by their path (the control socket is one, and it trusts this user), at limits and priorities of
//! other processes, or at memory shared by number; so all of that is refused here. Everything refused answers `EPERM`.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// Makes of the kernel's Landlock what the filter has to do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// Landlock does not keep signals inside.
    pub signals: bool,
    /// Landlock does not look at truncating by path.
    pub truncate: bool,
    /// The program would change system files as root.
    pub root: bool,
}

/// Filters, to be put on one after the other.
pub fn programs(gaps: Gaps) -> io::Result<[BpfProgram; 2]> {
    // The C library falls back to `clone`, whose flags can be looked at, if `clone3` is not there; and so do programs from what
    // a later kernel brings, which nobody has judged.
    let absent = (SYS_NEWEST + 1..=SYS_LAST).chain([libc::SYS_clone3]).map(|number| (number, Vec::new())).collect();
    Ok([compile(rules(gaps)?, libc::EPERM)?, compile(absent, libc::ENOSYS)?])
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> io::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    Ok(without_x32(program))
}

/// On x86-64 the same calls exist once more under numbers with bit 30 set, which the rules would not know: they kill.
fn without_x32(program: BpfProgram) -> BpfProgram {
    const LOAD_NUMBER: sock_filter = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    const IS_X32: sock_filter = sock_filter { code: 0x35, jt: 0, jf: 1, k: 0x4000_0000 };
    const KILL: sock_filter = sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS };
    [LOAD_NUMBER, IS_X32, KILL].into_iter().chain(program).collect()
}

/// Refused whatever the arguments are.
const ALWAYS: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_perf_event_open,
    libc::SYS_lookup_dcookie,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // Keys of the user.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Other views of the file system, and files by number.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_inotify_add_watch,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Modes, owners, attributes by path: Landlock does not look at them.
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // Sockets: not even local ones, since those with a path are out of Landlock's sight.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Memory, messages and locks that are shared by number or name within a user.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Commands of `fcntl` that let the kernel send a signal to somebody (asm-generic/fcntl.h).
const F_SETOWN: u64 = 8;
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;
/// Commands of `ioctl` that type into a terminal (asm-generic/ioctls.h).
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// Not yet in the C library's bindings for every platform; the number is the same on all.
const SYS_FCHMODAT2: i64 = 452;
/// The newest system call that was looked at (`mseal`, Linux 6.10), and a number that none will have for a long time. What is
/// between them is not there: `setxattrat` (463) and its kin do what is forbidden below.
const SYS_NEWEST: i64 = 462;
const SYS_LAST: i64 = 1_023;

#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_uselib,
    libc::SYS_iopl,
    libc::SYS_ioperm,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// Flags of `clone` that make a namespace.
const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

fn rules(gaps: Gaps) -> io::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALWAYS.iter().chain(OLD).map(|number| (*number, Vec::new())).collect();
    let mut some = |number: i64, argument: u8, width: Width, is: Is, value: u64| -> io::Result<()> {
        let condition = SeccompCondition::new(argument, width, is, value).map_err(io::Error::other)?;
        let rule = SeccompRule::new(vec![condition]).map_err(io::Error::other)?;
        rules.entry(number).or_default().push(rule);
        Ok(())
    };
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        some(libc::SYS_clone, 0, Width::Qword, Is::MaskedEq(flag), flag)?;
    }
    // A pair of connected sockets is a pipe, unless its kind can send to an address.
    some(libc::SYS_socketpair, 0, Width::Dword, Is::Ne, number(libc::AF_UNIX))?;
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM] {
        some(libc::SYS_socketpair, 1, Width::Dword, Is::MaskedEq(0xf), number(kind))?;
    }
    // Limits and priorities: only a program's own.
    for (call, place) in [
        (libc::SYS_prlimit64, 0),
        (libc::SYS_sched_setscheduler, 0),
        (libc::SYS_sched_setparam, 0),
        (libc::SYS_sched_setattr, 0),
        (libc::SYS_sched_setaffinity, 0),
        (libc::SYS_setpriority, 1),
        (libc::SYS_ioprio_set, 1),
    ] {
        some(call, place, Width::Dword, Is::Ne, 0)?;
    }
    for call in [libc::SYS_setpriority, libc::SYS_ioprio_set] {
        // The kinds "group" and "user" reach further than a process; "process" is 0 for one and 1 for the other.
        let own = if call == libc::SYS_setpriority { 0 } else { 1 };
        some(call, 0, Width::Dword, Is::Ne, own)?;
    }
    // Times by path; by handle they go through what was opened.
    some(libc::SYS_utimensat, 1, Width::Qword, Is::Ne, 0)?;
    // Asking is fine, changing is not.
    some(libc::SYS_personality, 0, Width::Dword, Is::Ne, 0xffff_ffff)?;
    // Typing into a terminal.
    for request in [TIOCSTI, TIOCLINUX] {
        some(libc::SYS_ioctl, 1, Width::Dword, Is::Eq, request)?;
    }
    if gaps.signals {
        for command in [F_SETOWN, F_SETSIG, F_SETOWN_EX] {
            some(libc::SYS_fcntl, 1, Width::Dword, Is::Eq, command)?;
        }
        let calls = [
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_pidfd_send_signal,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
        ];
        rules.extend(calls.map(|call| (call, Vec::new())));
    }
    if gaps.truncate {
        rules.insert(libc::SYS_truncate, Vec::new());
    }
    if gaps.root {
        // Root owns the programs that it may open for reading.
        rules.insert(libc::SYS_fchmod, Vec::new());
    }
    Ok(rules)
}

fn number(of: i32) -> u64 {
    u64::from(of.unsigned_abs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_filters_fit_into_the_kernel_and_know_every_gap() {
        let length = |signals, truncate, root| {
            let [first, second] = programs(Gaps { signals, truncate, root }).unwrap();
            assert!(first.len() < 4_096 && second.len() < 4_096, "the kernel takes 4096 instructions");
            first.len()
        };
        let least = length(false, false, false);
        assert!(length(true, false, false) > least && length(false, true, false) > least);
        assert_ne!(length(false, false, true), least);
    }
}
