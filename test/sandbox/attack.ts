import type { KernelFacts } from "../../src/agent/workers/sandbox/kernel-facts.ts";
import type { ProtectionName } from "../../src/model/protection.ts";

/** `ffi` makes `calls` in the TypeScript plugin host; `py` does when it has no code of its own. */
export type Language = "ts" | "ffi" | "sh" | "py";
export const LANGUAGES: Language[] = ["ts", "ffi", "sh", "py"];

/**
 * What proves a success from outside, because the program's own word is not enough: the secret of its target in the
 * output, a change in its target's folder, its name heard by a listener of the harness, a change of its victim process,
 * the exit code 42, more than its share of a processor. `said` is for what leaves no trace outside.
 */
export type Proof = "secret" | "change" | "hello" | "victim" | "exit" | "cpu" | "said";

/** What the harness made for one attack. Everything it may reach when it succeeds is in here, and is the harness's own. */
export interface Target {
  id: string;
  /** Folder outside the grant, open to everybody by its mode: only the sandbox can refuse. */
  folder: string;
  /** `<folder>/secret.txt`; holds `secret`. */
  file: string;
  secret: string;
  /** The worker's own folder. */
  own: string;
  /** A file of the plugin's code. */
  code: string;
  /** The harness. */
  parent: number;
  /** A process of the harness's user, and readable memory of it; 0 when the attack has none. */
  victim: number;
  victimMemory: number;
  tcp: number;
  udp: number;
  /** A pathname and an abstract unix socket that listen. */
  unix: string;
  abstract: string;
  /** A block device of the host; empty when there is none. */
  device: string;
  /** The program of the plugin host. */
  program: string;
  hostname: string;
}

/** An argument of a system call, as data, so that TypeScript and Python make the same one. */
export type Arg =
  | number
  /** A C string; `$folder`, `$file`, `$own` … stand for the target's. */
  | string
  /** A number of the target. */
  | { of: "parent" | "victim" | "victimMemory" | "tcp" | "udp" }
  | { self: "pid" | "uid" }
  /** What an earlier call returned. */
  | { result: number }
  | { zero: number }
  | { hex: string }
  /** Text, filled up with NULs to 64 bytes. */
  | { text: string }
  | { u32: Arg[] }
  | { u64: Arg[] }
  /** A socket address of the harness's listener. */
  | { address: "tcp" | "udp" | "unix" | "abstract" };

export interface Call {
  /** Its name in `numbers.ts`. */
  call: string;
  args: Arg[];
}

export type Expected = "stopped" | { unprotected: string };

export interface Attack {
  id: string;
  title: string;
  level: ProtectionName;
  proof: Proof;
  /** In a worker of its own: it ends, replaces or changes the process that tries it. */
  own?: boolean;
  /** Kernels are built without it, or keep it from this user: where it fails unconfined, it is not held against the suite. */
  optional?: true;
  /** Why it cannot be tried on this host; null when it can. */
  needs?: (host: AttackHost) => string | null;
  /** What it does when nothing confines it: a test that cannot fail proves nothing. */
  off: "succeeds" | "succeeds as root" | { impossible: string };
  /** Makes its system calls from TypeScript and from Python; the last one must return no error. */
  calls?: Call[];
  /** Errors of the last call that show that it was not refused. */
  reached?: string[];
  code?: {
    /** Resolves to what it got; throws or resolves to undefined when it was stopped. */
    ts?: (target: Target) => unknown;
    /** Exit code 0 is a success; its output is what it got. */
    sh?: string;
    /** Raises when it was stopped; `t` is the target, `sys(name, *args)` raises OSError. */
    py?: string;
  };
  /** Kernels on which it cannot be stopped. Absent: it is stopped wherever its level is enforced. */
  expected?: (facts: KernelFacts) => Expected;
}

/** What attacks may have to know about the host to say that they cannot be tried. */
export interface AttackHost {
  root: boolean;
  arch: string;
  compiled: boolean;
  has(path: string): boolean;
  /** Content of a small file, trimmed; empty when it cannot be read. */
  read(path: string): string;
}

export function languagesOf(attack: Attack): Language[] {
  return LANGUAGES.filter((language) => {
    if (language === "ffi") return attack.calls !== undefined;
    return attack.code?.[language] !== undefined || (language === "py" && attack.calls !== undefined);
  });
}
