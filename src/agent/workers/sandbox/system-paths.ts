import type { LandlockPolicy, PathRight } from "./launch-policy.ts";

type PathRules = LandlockPolicy["paths"];

/** Only the host's owner can change what is behind these: links in them are followed, absent ones give nothing. */
function rules(paths: readonly string[], ...rights: PathRight[]): PathRules {
  return paths.map((path) => ({ path, rights, follow: true }));
}

/** Programs and libraries. */
const PROGRAM_FOLDERS = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const LIBRARY_FOLDERS = [
  ...["/lib", "/lib32", "/lib64", "/libx32"],
  ...["/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/local/lib", "/usr/share"],
];

/** The program that maps a program's libraries; the kernel executes it together with every dynamic program. */
const LOADERS = [
  ...["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"],
  ...["/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"],
];

/** What this program itself is linked against, in the places of Debian, Fedora, SUSE, Arch and Alpine. */
const OWN_LIBRARIES = [
  "/lib/x86_64-linux-gnu",
  "/usr/lib/x86_64-linux-gnu",
  "/lib/aarch64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/lib64",
  "/usr/lib64",
  "/lib",
  "/usr/lib",
].flatMap((folder) =>
  ["libc.so.6", "libpthread.so.0", "libdl.so.2", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"].map(
    (name) => `${folder}/${name}`,
  ),
);
const MUSL_LIBRARIES = ["/lib/libc.musl-x86_64.so.1", "/lib/libc.musl-aarch64.so.1"];

const TIME_ZONES = ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];

/** For looking up names. */
const NAME_FILES = [
  ...["resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf", "services", "protocols"],
].map((name) => `/etc/${name}`);

/** Files that programs expect to be able to read, and in which no host keeps a secret. */
const PUBLIC_FILES = [
  ...["ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload"],
  ...["passwd", "group", "hostname", "os-release", "debian_version", "machine-info", "shells"],
  ...["ssl", "pki", "ca-certificates", "ca-certificates.conf", "crypto-policies"],
  ...["alternatives", "mime.types", "magic", "terminfo", "inputrc", "locale.alias", "locale.conf"],
  ...["bash.bashrc", "bashrc", "profile", "profile.d", "environment", "default/locale", "login.defs"],
  ...["python3", "perl", "gitconfig", "wgetrc", "curlrc", "networks", "rpc", "ethertypes"],
].map((name) => `/etc/${name}`);

/** About the machine, not about other processes. */
const MACHINE_FACTS = [
  ...["cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "filesystems"].map(
    (name) => `/proc/${name}`,
  ),
  ...["kernel/ngroups_max", "kernel/cap_last_cap", "kernel/osrelease", "kernel/pid_max"].map(
    (name) => `/proc/sys/${name}`,
  ),
  ...["/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage"],
];

/** What every worker may use. `/proc/self` is that of stage 1, and so of what it becomes, not of what that starts. */
const ALWAYS: PathRules = [
  ...rules(["/dev/null"], "read", "write"),
  ...rules(["/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"], "read"),
  ...rules(["/proc/self"], "list", "read"),
  ...rules(TIME_ZONES, "list", "read"),
  ...rules(LOADERS, "read", "execute"),
];

/** For this program as a plugin host. */
export const HOST_MINIMUM: PathRules = [
  ...ALWAYS,
  ...rules([...OWN_LIBRARIES, ...MUSL_LIBRARIES, "/etc/ld.so.cache"], "read"),
  ...rules(["/sys/devices/system/cpu/online", "/proc/meminfo", "/proc/sys/vm/overcommit_memory"], "read"),
];

/** For other programs: their libraries and data, and what they look up; executable is none of it but the loader. */
export const PROGRAM_MINIMUM: PathRules = [
  ...ALWAYS,
  ...rules(LIBRARY_FOLDERS, "list", "read"),
  ...rules([...PUBLIC_FILES, ...NAME_FILES, ...MACHINE_FACTS], "list", "read"),
  ...rules(["/dev/full", "/dev/zero"], "read", "write"),
];

export const NAME_LOOKUP: PathRules = rules(NAME_FILES, "read");

/** `@system` where it is to be read. */
export const SYSTEM_READ: PathRules = [...PROGRAM_MINIMUM, ...rules(PROGRAM_FOLDERS, "list", "read")];

/** `@system` where it is to be executed. */
export const SYSTEM_EXEC: PathRules = [
  ...PROGRAM_MINIMUM,
  ...rules(PROGRAM_FOLDERS, "list", "read", "execute"),
];
