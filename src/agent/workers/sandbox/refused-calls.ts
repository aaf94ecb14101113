import type { CallName } from "./syscalls.ts";

/** What no worker needs and every escape starts from: refused with EPERM, whatever its grant. */
export const ALWAYS_REFUSED: readonly CallName[] = (
  [
    // Other processes: their memory, descriptors and signals.
    ["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise", "process_mrelease"],
    ["pidfd_open", "pidfd_getfd", "pidfd_send_signal"],
    // Mounts and other roots: they would undo the view of the file system that the rules were made for.
    ["mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount"],
    ["fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"],
    // New namespaces give capabilities in them, and with those most of the kernel's code.
    ["unshare", "setns"],
    // Files by handle and by watching whole mounts, past every rule on paths.
    ["name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark", "file_setattr"],
    // Large parts of the kernel with a history of holes.
    ["bpf", "perf_event_open", "userfaultfd", "vmsplice", "memfd_secret"],
    // Does what the filter refuses, behind its back.
    ["io_uring_setup", "io_uring_enter", "io_uring_register"],
    // Keyrings belong to the user, not to the worker.
    ["keyctl", "add_key", "request_key"],
    // System V and POSIX queues and memory: reachable by every process of the user, outlive the worker.
    ["shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semtimedop", "semctl"],
    ["msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"],
    // The host itself: kernel, modules, time, name, swap, quotas, ports. Capabilities guard them too.
    ["kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"],
    ["create_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog"],
    ["settimeofday", "clock_settime", "adjtimex", "clock_adjtime"],
    ["sethostname", "setdomainname", "iopl", "ioperm", "vhangup", "lsm_set_self_attr"],
    // How memory and processors are shared with others.
    ["move_pages", "migrate_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node"],
    ["sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"],
    // Relics, and what makes an exploit easier.
    ["personality", "modify_ldt", "uselib", "nfsservctl", "_sysctl", "ustat", "sysfs"],
    ["lookup_dcookie"],
  ] satisfies CallName[][]
).flat();

/**
 * Landlock does not see them, so that they reach every file and process group of the user: refused unless the worker has
 * a user of its own, or a mount namespace in which nothing else can be written.
 */
export const REFUSED_WITHOUT_FILE_MODES: readonly CallName[] = (
  [
    ["chmod", "fchmod", "fchmodat", "fchmodat2"],
    ["chown", "lchown", "fchown", "fchownat"],
    ["utime", "utimes", "utimensat", "futimesat"],
    ["setxattr", "lsetxattr", "fsetxattr", "setxattrat"],
    ["removexattr", "lremovexattr", "fremovexattr", "removexattrat"],
    // Out of the group that the agent kills.
    ["setpgid", "setsid"],
  ] satisfies CallName[][]
).flat();
