import { dlopen, ptr } from "bun:ffi";
import { closeSync, fchmodSync } from "node:fs";
import { HoldfastError } from "../../../core/errors.ts";
import type { ScriptStdin } from "./ports.ts";

const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
/** The same on both architectures. Ours must not be inherited by anything else that is started meanwhile. */
const O_CLOEXEC = 0o2000000;

type Bytes = Uint8Array<ArrayBuffer>;

/** stdin, stdout and stderr of one script. */
export interface ScriptPipes {
  /** For the spawn's `stdio`. */
  child: [stdin: number, stdout: number, stderr: number];
  stdin: ScriptStdin;
  stdout: ReadableStream<Bytes>;
  stderr: ReadableStream<Bytes>;
  /** After the spawn: the child has its own copies. */
  closeChild(): void;
  /** When the spawn failed. */
  closeAll(): void;
}

/**
 * Makes real pipes. Bun's own `pipe` is a pair of sockets, and Linux does not open a socket by its name: in a script
 * `echo … > /dev/stderr`, `tee /dev/stdout` and `cat /dev/stdin` would all fail.
 */
export function scriptPipeMaker(): () => ScriptPipes {
  const pipe2 = loadPipe2();
  const pipe = () => {
    const ends = new Int32Array(2);
    if (pipe2(ptr(ends), O_CLOEXEC) === 0) return { read: ends[0]!, write: ends[1]! };
    throw new HoldfastError("exhausted", "cannot make a pipe for a script: too many files are open", {
      retryable: true,
    });
  };
  return () => {
    const made: { read: number; write: number }[] = [];
    try {
      for (let n = 0; n < 3; n++) made.push(pipe());
    } catch (error) {
      for (const { read, write } of made) closeEach([read, write]);
      throw error;
    }
    const [stdin, stdout, stderr] = made as [(typeof made)[0], (typeof made)[0], (typeof made)[0]];
    const child: ScriptPipes["child"] = [stdin.read, stdout.write, stderr.write];
    // A script with a user of its own opens them by name as well; nobody else finds them.
    for (const fd of child) fchmodSync(fd, 0o666);
    return {
      child,
      stdin: writerOf(stdin.write),
      stdout: readerOf(stdout.read),
      stderr: readerOf(stderr.read),
      closeChild: () => closeEach(child),
      closeAll: () => closeEach([...child, stdin.write, stdout.read, stderr.read]),
    };
  };
}

function loadPipe2() {
  for (const name of LIBC_NAMES) {
    try {
      return dlopen(name, { pipe2: { args: ["ptr", "i32"], returns: "i32" } }).symbols.pipe2;
    } catch {
      // The other C library.
    }
  }
  throw new HoldfastError(
    "failed",
    `cannot make pipes for scripts: none of ${LIBC_NAMES.join(", ")} is here`,
  );
}

/** Closes its descriptor at the end, which Bun's writer does not. */
function writerOf(fd: number): ScriptStdin {
  const writer = Bun.file(fd).writer();
  let open = true;
  return {
    write: (bytes) => writer.write(bytes),
    flush: () => writer.flush(),
    async end() {
      if (!open) return;
      open = false;
      try {
        await writer.end();
      } finally {
        closeSync(fd);
      }
    },
  };
}

/** Closes its descriptor at the end or when it is cancelled. Reads nothing ahead: who does not read makes the script wait. */
function readerOf(fd: number): ReadableStream<Bytes> {
  const reader = Bun.file(fd).stream().getReader();
  let open = true;
  const close = () => {
    if (open) closeSync(fd);
    open = false;
  };
  return new ReadableStream<Bytes>(
    {
      async pull(controller) {
        const { value, done } = await reader.read().catch(() => ({ value: undefined, done: true }));
        if (!done) return controller.enqueue(value as Bytes);
        close();
        controller.close();
      },
      async cancel() {
        await reader.cancel().catch(() => {});
        close();
      },
    },
    { highWaterMark: 0 },
  );
}

function closeEach(fds: number[]): void {
  for (const fd of fds) closeSync(fd);
}
