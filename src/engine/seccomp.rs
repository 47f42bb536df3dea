//! The system calls that dynos and builds may make: what an ordinary program without privileges
//! needs. All others fail with "Operation not permitted". It is narrower than Docker's own
//! profile: no tracing of other processes, no io_uring, no sockets into the hypervisor.

use serde_json::{Value, json};

const FILES: &str = "\
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 \
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat \
    fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock \
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 \
    futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1 \
    inotify_rm_watch ioctl landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown \
    lchown32 lgetxattr link linkat listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat \
    lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe \
    pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat \
    readv removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr splice stat \
    stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs \
    tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes \
    vmsplice write writev io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 \
    io_setup io_submit ioprio_get ioprio_set";

const MEMORY: &str = "\
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 \
    mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free \
    pkey_mprotect process_mrelease remap_file_pages mq_getsetattr mq_notify mq_open \
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl \
    msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt \
    shmget ipc";

const PROCESSES: &str = "\
    arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush capget capset execve \
    execveat exit exit_group fork getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 \
    getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getrandom getresgid \
    getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid get_thread_area \
    gettid getuid getuid32 kill modify_ldt pidfd_open pidfd_send_signal prctl prlimit64 \
    restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn \
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity \
    sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler \
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr \
    sched_setparam sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 \
    setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid \
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid set_tls \
    set_thread_area set_tid_address setuid setuid32 sigaction sigaltstack signal sigpending \
    sigprocmask sigreturn sigsuspend sysinfo tgkill tkill ugetrlimit uname vfork wait4 waitid \
    waitpid";

const TIME: &str = "\
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 epoll_create epoll_create1 epoll_ctl \
    epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 futex \
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake getitimer gettimeofday nanosleep \
    _newselect pause poll ppoll ppoll_time64 pselect6 pselect6_time64 select setitimer signalfd \
    signalfd4 time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 \
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
    timerfd_settime64 times";

const NETWORK: &str = "\
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg \
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair";

/// Flags of `clone` that make a namespace.
const NAMESPACES: u64 = 0x7e02_0000;
/// The address family of sockets between a virtual machine and its host.
const AF_VSOCK: u64 = 40;
/// What `personality` may be set to: Linux, with or without its 32-bit forms, and the question.
const PERSONALITIES: [u64; 5] = [0, 8, 0x20000, 0x20008, 0xffff_ffff];
/// "Function not implemented": the C library then uses `clone`, whose flags can be looked at.
const ENOSYS: u64 = 38;

/// The profile as Docker takes it in a `seccomp=` option.
pub fn profile() -> String {
    let names: Vec<&str> = [FILES, MEMORY, PROCESSES, TIME, NETWORK]
        .iter()
        .flat_map(|group| group.split_ascii_whitespace())
        .collect();
    let argument = |value: u64, two: u64, op: &str| json!([{ "index": 0, "value": value, "valueTwo": two, "op": op }]);
    let mut rules = vec![
        json!({ "names": names, "action": "SCMP_ACT_ALLOW" }),
        json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": argument(NAMESPACES, 0, "SCMP_CMP_MASKED_EQ"),
        }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
        json!({
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": argument(AF_VSOCK, 0, "SCMP_CMP_NE"),
        }),
    ];
    rules.extend(PERSONALITIES.map(|value| {
        json!({
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": argument(value, 0, "SCMP_CMP_EQ"),
        })
    }));
    let profile: Value = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {
                "architecture": "SCMP_ARCH_X86_64",
                "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            },
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] },
        ],
        "syscalls": rules,
    });
    profile.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_named_twice_and_none_of_the_dangerous_ones() {
        let profile: Value = serde_json::from_str(&profile()).unwrap();
        let names = profile["syscalls"][0]["names"].as_array().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            assert!(seen.insert(name.as_str().unwrap()), "{name} twice");
        }
        for name in [
            "ptrace",
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "init_module",
            "kexec_load",
            "open_by_handle_at",
            "perf_event_open",
            "process_vm_readv",
            "process_vm_writev",
            "io_uring_setup",
            "userfaultfd",
            "pivot_root",
            "clone",
            "socket",
        ] {
            assert!(!seen.contains(name), "{name}");
        }
    }
}
