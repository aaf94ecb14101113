/**
 * Attacks of the escape suite (test/sandbox), by what stops them: a level lists those that this host does not stop. The suite
 * holds these lists against what happens.
 */
const named = (group: string, names: string): string[] => names.split(" ").map((name) => `${group}.${name}`);

/** Stopped by Landlock alone, when the modes of the files do not. */
export const READS = [
  ...named("read", "sync async bun-file thread ffi openat2 list through-symlink through-hardlink proc-root"),
  ...named("read", "block-device shadow"),
  ...named("exec", "not-granted loader-not-granted"),
];

/** Also by another user, and by a user namespace of its own. */
export const READS_OF_THE_AGENT = named(
  "read",
  "proc-parent-root proc-parent-environ proc-parent-mem proc-parent-fds",
);

/** Stopped by Landlock, or by mounts that are read-only. */
export const WRITES = [
  ...named("write", "file async bun append create unlink rename rename-in rename-out exchange"),
  ...named("write", "symlink hardlink mkdir rmdir fifo bind-socket own-code executable"),
  ...named("write", "proc-sys dev-shm tmp"),
];

/** Landlock stops them from ABI 3 on; read-only mounts and the filter do too. */
export const TRUNCATES = named("write", "truncate open-truncate");

/** Landlock does not see them; read-only mounts and the filter stop them. */
export const MODES = named("write", "chmod fchmodat2 chown utimes xattr");

/** Stopped by the filter, or by Landlock from ABI 6 on, or by another user. */
export const SIGNALS = named("signal", "kill agent group tgkill tkill queue queue-thread pidfd");

/** Stopped by the filter; some of them also by other things. */
export const SYSTEM_CALLS = [
  ...SIGNALS,
  ...named("signal", "set-owner"),
  ...named("read", "by-handle name-to-handle"),
  ...named("exec", "spawn shell child-process execve memfd own-file loader self-as-bun fork set-uid"),
  ...named(
    "process",
    "ptrace read-memory write-memory prlimit priority scheduler affinity io-priority compare",
  ),
  ...named("process", "pidfd take-descriptor madvise move-pages namespace"),
  ...named("kernel", "unshare clone clone3 unshare-mount mount umount2 pivot-root chroot open-tree fsopen"),
  ...named("kernel", "mount-setattr setns bpf perf-event-open io-uring-setup userfaultfd add-key keyctl"),
  ...named("kernel", "request-key kexec-load finit-module reboot swapon acct settimeofday sethostname"),
  ...named("kernel", "setdomainname syslog iopl modify-ldt fanotify-init shmget semget msgget mq-open"),
  ...named("kernel", "personality mbind set-mempolicy migrate-pages memfd-secret mknod mknod-null x32 int80"),
  ...named("limits", "raise priority"),
];

/** Stopped by the filter, which lets no worker make a socket that it needs not. */
export const SOCKETS = named(
  "net",
  "tcp fetch bun-connect udp ipv6 raw ping packet netlink unix-path unix-abstract vsock mptcp sctp crypto fast-open listen",
);

export const USES = [
  ...named("memory", "buffers heap mmap shared shared-dropped memfd"),
  ...["process.bomb", "thread.bomb", "descriptor.bomb"],
  ...named("spin", "sync async thread processes"),
  ...named("disk", "big-file sparse-file many-files"),
];

/** What samples and resource limits see too late, or not at all, by the controller that would hold it. */
export const USES_PAST_WATCHING: Record<"memory" | "pids" | "cpu", string[]> = {
  memory: ["memory.shared-dropped"],
  pids: [],
  cpu: ["spin.processes"],
};
