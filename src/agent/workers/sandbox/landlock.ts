import type { LandlockPolicy, PathRight } from "./launch-policy.ts";
import { ERRNO, type Kernel, must } from "./libc.ts";
import { openRealPath } from "./real-path.ts";

const RIGHT = {
  EXECUTE: 1 << 0,
  WRITE_FILE: 1 << 1,
  READ_FILE: 1 << 2,
  READ_DIR: 1 << 3,
  REMOVE_DIR: 1 << 4,
  REMOVE_FILE: 1 << 5,
  MAKE_CHAR: 1 << 6,
  MAKE_DIR: 1 << 7,
  MAKE_REG: 1 << 8,
  MAKE_SOCK: 1 << 9,
  MAKE_FIFO: 1 << 10,
  MAKE_BLOCK: 1 << 11,
  MAKE_SYM: 1 << 12,
  REFER: 1 << 13,
  TRUNCATE: 1 << 14,
  IOCTL_DEV: 1 << 15,
} as const;

/** Each ABI brought one thing more that the kernel can hold. */
const ABI = { refer: 2, truncate: 3, ports: 4, deviceIoctls: 5, scopes: 6 } as const;

/** What a rule on something that is not a folder may name. */
const FILE_RIGHTS = RIGHT.EXECUTE | RIGHT.WRITE_FILE | RIGHT.READ_FILE | RIGHT.TRUNCATE | RIGHT.IOCTL_DEV;

/** Devices and sockets are never made; a fifo only where the filter lets mknod through. */
const RIGHTS: Record<PathRight, number> = {
  list: RIGHT.READ_DIR,
  read: RIGHT.READ_FILE,
  execute: RIGHT.EXECUTE,
  write:
    RIGHT.WRITE_FILE |
    RIGHT.TRUNCATE |
    RIGHT.REMOVE_DIR |
    RIGHT.REMOVE_FILE |
    RIGHT.MAKE_DIR |
    RIGHT.MAKE_REG |
    RIGHT.MAKE_FIFO |
    RIGHT.MAKE_SYM |
    RIGHT.REFER |
    RIGHT.IOCTL_DEV,
};

const PORT_BIND = 1;
const PORT_CONNECT = 2;
/** No connecting to abstract unix sockets, no signals, of and to what is outside. */
const ALL_SCOPES = 3;

const CREATE_VERSION = 1;
const RULE_PATH = 1;
const RULE_PORT = 2;

/** The version of Landlock that this kernel has; 0: none, or switched off. */
export function landlockAbi(kernel: Kernel): number {
  return Math.max(0, kernel.call("landlock_create_ruleset", null, 0, CREATE_VERSION));
}

/** Rights that this ABI knows; all of them are taken away, rules give some back. */
export function handledRights(abi: number): number {
  let rights = RIGHT.REFER - 1;
  if (abi >= ABI.refer) rights |= RIGHT.REFER;
  if (abi >= ABI.truncate) rights |= RIGHT.TRUNCATE;
  if (abi >= ABI.deviceIoctls) rights |= RIGHT.IOCTL_DEV;
  return rights;
}

/** Confines the calling thread, and what it executes. A path that does not exist gives no right. */
export function restrictPaths(kernel: Kernel, policy: LandlockPolicy): void {
  const abi = Math.min(landlockAbi(kernel), policy.abi ?? Number.POSITIVE_INFINITY);
  must("Landlock", abi === 0 ? -ERRNO.EOPNOTSUPP : abi);
  const rights = handledRights(abi);
  const ruleset = createRuleset(kernel, policy, abi, rights);
  for (const rule of policy.paths) addPathRule(kernel, ruleset, rule, rights);
  if (abi >= ABI.ports) {
    for (const port of portsOf(policy.bind)) addPortRule(kernel, ruleset, PORT_BIND, port);
    for (const port of portsOf(policy.connect)) addPortRule(kernel, ruleset, PORT_CONNECT, port);
  }
  must("Landlock restrict_self", kernel.call("landlock_restrict_self", ruleset, 0));
  kernel.call("close", ruleset);
}

function createRuleset(kernel: Kernel, policy: LandlockPolicy, abi: number, rights: number): number {
  let ports = 0;
  if (policy.bind !== "any") ports |= PORT_BIND;
  if (policy.connect !== "any") ports |= PORT_CONNECT;
  // struct landlock_ruleset_attr { u64 handled_access_fs, handled_access_net, scoped }; it grew with the ABI.
  const fields = [rights];
  if (abi >= ABI.ports) fields.push(ports);
  if (abi >= ABI.scopes) fields.push(ALL_SCOPES);
  const attributes = new BigUint64Array(fields.map(BigInt));
  return must(
    "Landlock create_ruleset",
    kernel.call("landlock_create_ruleset", attributes, attributes.byteLength, 0),
  );
}

const portsOf = (ports: number[] | "any"): number[] => (ports === "any" ? [] : ports);

function addPathRule(
  kernel: Kernel,
  ruleset: number,
  { path, rights, follow }: LandlockPolicy["paths"][number],
  handled: number,
): void {
  const fd = openRealPath(kernel, path, follow ?? false);
  if (fd === null) return;
  const wanted = rights.reduce((sum, right) => sum | RIGHTS[right], 0) & handled;
  const add = (access: number): number => {
    // Packed struct landlock_path_beneath_attr { u64 allowed_access; s32 parent_fd }
    const rule = Buffer.alloc(12);
    rule.writeBigUInt64LE(BigInt(access), 0);
    rule.writeInt32LE(fd, 8);
    return kernel.call("landlock_add_rule", ruleset, RULE_PATH, rule, 0);
  };
  let result = add(wanted);
  // EINVAL: it is a file, and some of the rights are a folder's.
  if (result === -ERRNO.EINVAL && (wanted & FILE_RIGHTS) !== 0) result = add(wanted & FILE_RIGHTS);
  must(`Landlock rule for ${path}`, result);
  kernel.call("close", fd);
}

function addPortRule(kernel: Kernel, ruleset: number, access: number, port: number): void {
  // struct landlock_net_port_attr { u64 allowed_access; u64 port }
  const rule = new BigUint64Array([BigInt(access), BigInt(port)]);
  must(`Landlock rule for port ${port}`, kernel.call("landlock_add_rule", ruleset, RULE_PORT, rule, 0));
}
