//! Which system calls a service may make, by what it does. What is in no part of its list ends it.
//!
//! Measured with strace of each service, for a program that is linked statically with glibc.

use libc::c_int;

use super::filter::{Row, Test, Verdict};

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Calls {
    /// Memory that is not run, threads, time, waiting, and files that are open already. Every service needs it.
    Base,
    /// Sockets that are there already: accept, send to who is connected, receive, their options.
    Sockets,
    /// Datagrams and frames, over sockets that are there already: to whom those lead, and to nobody else. What the sockets
    /// are is not changed.
    Datagrams,
    /// Files are opened for reading.
    Read,
    /// Files are made and written.
    Write,
    /// TCP and UDP to others.
    Connect,
    /// A socket waits for others at an address of its own.
    Bind,
}

const fn any(call: i64) -> Row {
    Row { call, test: None, verdict: Verdict::Allow }
}

const fn only(call: i64, argument: u32, values: &'static [u32]) -> Row {
    masked(call, argument, u32::MAX, values)
}

const fn masked(call: i64, argument: u32, mask: u32, values: &'static [u32]) -> Row {
    Row { call, test: Some(Test { argument, mask, values }), verdict: Verdict::Allow }
}

/// Constants of libc are signed, what the kernel compares are bits.
const fn bits(value: c_int) -> u32 {
    value.cast_unsigned()
}

/// A thread of this process, and nothing else: no new process, and no world of its own.
const THREAD: [u32; 1] = [bits(
    libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SETTLS
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID,
)];
const NOT_RUN: u32 = bits(libc::PROT_EXEC);
/// Name of a thread, and of a piece of memory (`PR_SET_VMA`, which glibc asks for).
const NAMES: [u32; 2] = [bits(libc::PR_SET_NAME), 0x5356_4d41];
const DESCRIPTORS: [u32; 5] = [
    bits(libc::F_DUPFD_CLOEXEC),
    bits(libc::F_GETFD),
    bits(libc::F_SETFD),
    bits(libc::F_GETFL),
    bits(libc::F_SETFL),
];
/// `FIONBIO` and `FIONREAD`: what waits, and whether it is waited for.
const IOCTLS: [u32; 2] = [0x5421, 0x541B];
/// Whatever makes or changes a file, or asks for a descriptor that is no open file.
const CHANGES: u32 =
    bits(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_PATH | libc::O_TMPFILE)
        & !bits(libc::O_DIRECTORY);

/// `MSG_FASTOPEN`: a socket that was shut down is connected anew by what is sent, and nobody asks whether it may.
const CONNECTS: u32 = 0x2000_0000;

const BASE: [Row; 46] = [
    any(libc::SYS_futex),
    any(libc::SYS_epoll_wait),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_pwait2),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_epoll_create1),
    any(libc::SYS_read),
    any(libc::SYS_write),
    any(libc::SYS_readv),
    any(libc::SYS_writev),
    any(libc::SYS_close),
    any(libc::SYS_poll),
    any(libc::SYS_ppoll),
    any(libc::SYS_eventfd2),
    any(libc::SYS_timerfd_create),
    any(libc::SYS_timerfd_settime),
    any(libc::SYS_clock_gettime),
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_nanosleep),
    any(libc::SYS_restart_syscall),
    any(libc::SYS_getrandom),
    masked(libc::SYS_mmap, 2, NOT_RUN, &[0]),
    masked(libc::SYS_mprotect, 2, NOT_RUN, &[0]),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_brk),
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_sigaltstack),
    any(libc::SYS_sched_yield),
    any(libc::SYS_sched_getaffinity),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_rseq),
    any(libc::SYS_gettid),
    any(libc::SYS_getpid),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
    any(libc::SYS_fstat),
    only(libc::SYS_clone, 0, &THREAD),
    // Its flags lie in memory, where no filter sees them: glibc takes the older call instead.
    Row { call: libc::SYS_clone3, test: None, verdict: Verdict::Refuse(38) },
    only(libc::SYS_prctl, 0, &NAMES),
    only(libc::SYS_fcntl, 1, &DESCRIPTORS),
    only(libc::SYS_ioctl, 1, &IOCTLS),
    any(libc::SYS_getppid),
];

const SOCKETS: [Row; 10] = [
    any(libc::SYS_accept4),
    any(libc::SYS_recvfrom),
    masked(libc::SYS_sendto, 3, CONNECTS, &[0]),
    any(libc::SYS_recvmsg),
    masked(libc::SYS_sendmsg, 2, CONNECTS, &[0]),
    any(libc::SYS_shutdown),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
];

const DATAGRAMS: [Row; 3] = [
    any(libc::SYS_recvfrom),
    any(libc::SYS_recvmsg),
    // An address that has no bytes is none.
    only(libc::SYS_sendto, 5, &[0]),
];

const READ: [Row; 7] = [
    masked(libc::SYS_openat, 2, CHANGES, &[0]),
    any(libc::SYS_statx),
    any(libc::SYS_newfstatat),
    any(libc::SYS_lseek),
    any(libc::SYS_pread64),
    any(libc::SYS_getdents64),
    any(libc::SYS_readlinkat),
];

const WRITE: [Row; 9] = [
    any(libc::SYS_openat),
    any(libc::SYS_pwrite64),
    any(libc::SYS_ftruncate),
    any(libc::SYS_fsync),
    any(libc::SYS_fdatasync),
    any(libc::SYS_rename),
    any(libc::SYS_unlink),
    any(libc::SYS_mkdir),
    any(libc::SYS_lseek),
];

/// What speaks no TCP and no UDP: packets of IP itself, and what nobody uses.
const NOT_TCP_NOR_UDP: [u32; 5] = [
    bits(libc::SOCK_RAW),
    bits(libc::SOCK_RDM),
    bits(libc::SOCK_SEQPACKET),
    bits(libc::SOCK_DCCP),
    // SOCK_PACKET, as old as it is.
    10,
];
/// The kind of a socket, without flags.
const KIND: u32 = 0xF;

const CONNECT: [Row; 3] = [
    Row {
        call: libc::SYS_socket,
        test: Some(Test { argument: 1, mask: KIND, values: &NOT_TCP_NOR_UDP }),
        verdict: Verdict::Kill,
    },
    only(libc::SYS_socket, 0, &[bits(libc::AF_INET), bits(libc::AF_INET6)]),
    any(libc::SYS_connect),
];

const BIND: [Row; 3] = [
    only(libc::SYS_socket, 0, &[bits(libc::AF_INET), bits(libc::AF_INET6)]),
    any(libc::SYS_bind),
    any(libc::SYS_listen),
];

impl Calls {
    pub(super) const fn rows(self) -> &'static [Row] {
        match self {
            Self::Base => &BASE,
            Self::Sockets => &SOCKETS,
            Self::Datagrams => &DATAGRAMS,
            Self::Read => &READ,
            Self::Write => &WRITE,
            Self::Connect => &CONNECT,
            Self::Bind => &BIND,
        }
    }
}

/// What no verb and no service has any business with, whoever it is: the kernel's own inside, other processes, what lies at
/// which path, the machine's clock and its end. Refused to jobs, for whose work no list is short enough to be complete.
///
/// A file system that is attached to no path (`fsopen`, `fsmount`) is a job's own: so it looks into a server's disks.
pub(crate) const MIGHT: [i64; 43] = [
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_quotactl,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
];
