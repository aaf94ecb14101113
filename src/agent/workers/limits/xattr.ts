import { dlopen, ptr } from "bun:ffi";

const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

/** An extended attribute as text; null when it is not set, not readable or not supported. */
export function readXattr(path: string, name: string): string | null {
  const value = Buffer.alloc(256);
  for (const library of LIBC_NAMES) {
    const libc = load(library);
    if (!libc) continue;
    const length = libc.symbols.getxattr(
      ptr(Buffer.from(`${path}\0`)),
      ptr(Buffer.from(`${name}\0`)),
      ptr(value),
      BigInt(value.length),
    );
    libc.close();
    return length < 0n ? null : value.toString("utf8", 0, Number(length));
  }
  return null;
}

function load(name: string) {
  try {
    return dlopen(name, { getxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" } });
  } catch {
    return undefined;
  }
}
