/** System calls from inside a plugin, through bun:ffi. */
import { CFunction, dlopen, ptr, read, toArrayBuffer } from "bun:ffi";
import type { Arg, Call, Target } from "../attack.ts";
import { ERRNO, NUMBERS } from "./numbers.ts";

type Libc = (...values: bigint[]) => bigint;

/** Opened at the first use only: loading this file must do nothing. */
let opened: { syscall: Libc; errno(): number } | undefined;
/** What the kernel was given pointers to. */
const kept: unknown[] = [];

function libc(): { syscall: Libc; errno(): number } {
  if (opened) return opened;
  const i64 = "i64" as const;
  const symbols = {
    syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: i64 },
    __errno_location: { args: [], returns: "ptr" },
  } as const;
  for (const name of ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]) {
    try {
      const library = dlopen(name, symbols).symbols;
      opened = {
        syscall: library.syscall as unknown as Libc,
        errno: () => read.i32(library.__errno_location()!, 0),
      };
      return opened;
    } catch {
      // The other C library, then.
    }
  }
  throw new Error("no C library");
}

export function numberOf(name: string): number {
  const number = NUMBERS[name]?.[process.arch === "arm64" ? 1 : 0] ?? -1;
  if (number < 0) throw new Error(`no ${name} on ${process.arch}`);
  return number;
}

/** The result, or -errno. */
export function raw(number: number, ...args: (number | bigint)[]): number {
  const values = [0, 1, 2, 3, 4, 5].map((at) => BigInt(args[at] ?? 0));
  const { syscall, errno } = libc();
  const result = Number(syscall(BigInt(number), ...values));
  return result === -1 ? -errno() : result;
}

/** The result; throws the error's name. */
export function sys(name: string, ...args: (number | bigint)[]): number {
  const result = raw(numberOf(name), ...args);
  if (result < 0 && result > -4096) throw new Error(`${name}: ${ERRNO[-result] ?? `errno ${-result}`}`);
  return result;
}

/** Address of these bytes, which stay where they are for as long as this process lives. */
export function at(bytes: Uint8Array | BigUint64Array | Uint32Array): number {
  kept.push(bytes);
  return ptr(bytes as unknown as Uint8Array<ArrayBuffer>);
}

export const text = (value: string) => at(Buffer.from(`${value}\0`));

/** NULL-terminated array of C strings, as execve takes it. */
export const vector = (values: string[]) =>
  at(new BigUint64Array([...values.map((value) => BigInt(text(value))), 0n]));

/** Makes the calls one after the other; gives what the last one returned. */
export function makeCalls(calls: Call[], target: Target): number {
  const results: number[] = [];
  for (const { call, args } of calls) {
    results.push(sys(call, ...args.map((arg) => valueOf(arg, target, results))));
  }
  return results.at(-1)!;
}

/** Fills in `$file` and the like. */
export function fill(template: string, target: Target): string {
  return template.replace(/\$([a-z]+)/gi, (whole, name: string) => {
    const value = (target as unknown as Record<string, unknown>)[name];
    return value === undefined ? whole : String(value);
  });
}

function valueOf(arg: Arg, target: Target, results: number[]): number | bigint {
  if (typeof arg === "number") return arg;
  if (typeof arg === "string") return text(fill(arg, target));
  if ("of" in arg) return target[arg.of];
  if ("self" in arg) return arg.self === "pid" ? process.pid : process.getuid!();
  if ("result" in arg) return results[arg.result]!;
  if ("zero" in arg) return at(new Uint8Array(arg.zero));
  if ("hex" in arg) return at(Buffer.from(arg.hex, "hex"));
  if ("text" in arg) return at(Buffer.from(fill(arg.text, target).padEnd(64, "\0")));
  if ("u32" in arg) return at(new Uint32Array(arg.u32.map((item) => Number(valueOf(item, target, results)))));
  if ("u64" in arg) {
    return at(new BigUint64Array(arg.u64.map((item) => BigInt(valueOf(item, target, results)))));
  }
  return at(address(arg.address, target));
}

function address(kind: "tcp" | "udp" | "unix" | "abstract", target: Target): Buffer {
  if (kind === "tcp" || kind === "udp") {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(2, 0);
    bytes.writeUInt16BE(target[kind], 2);
    bytes.set([127, 0, 0, 1], 4);
    return bytes;
  }
  const bytes = Buffer.alloc(110);
  bytes.writeUInt16LE(1, 0);
  bytes.write(kind === "unix" ? target.unix : `\0${target.abstract}`, 2);
  return bytes;
}

/** Runs machine code that takes nothing and returns an int. */
export function runMachineCode(hex: string): number {
  const code = Buffer.from(hex, "hex");
  const memory = sys("mmap", 0, 4096, 7, 0x22, -1, 0);
  new Uint8Array(toArrayBuffer(memory as never, 0, 4096)).set(code);
  return Number(CFunction({ ptr: memory as never, args: [], returns: "i32" })());
}

/** `length` bytes of private memory, or shared ones, each page written to. */
export function touchMemory(length: number, shared: boolean): void {
  const memory = sys("mmap", 0, length, 3, shared ? 0x21 : 0x22, -1, 0);
  const bytes = new Uint8Array(toArrayBuffer(memory as never, 0, length));
  for (let page = 0; page < length; page += 4096) bytes[page] = 1;
}
