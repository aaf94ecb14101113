import { isUtf8 } from "node:buffer";
import { open } from "node:fs/promises";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import type { ConfigProblem } from "../../model/config-problem.ts";

/** A configuration file may not be larger: nobody writes one, and a huge one costs seconds and memory to parse. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

export type TextResult = { text: string } | { problem: ConfigProblem };

/**
 * Reads a configuration file as UTF-8 text; what is wrong with its bytes is a problem with its place. Never reads more
 * than the limit, also from a pipe or a device. Throws `not_found` when there is no such file.
 */
export async function readConfigText(file: string): Promise<TextResult> {
  let bytes: Buffer;
  try {
    bytes = await readBounded(file);
  } catch (error) {
    if (systemCode(error) === "ENOENT") {
      throw new HoldfastError("not_found", `there is no configuration file ${file}`, { cause: error });
    }
    return { problem: place(file, 0, 0, `cannot be read: ${cause(error)}`) };
  }
  if (bytes.length > MAX_CONFIG_BYTES) {
    return {
      problem: place(file, 0, 0, "the file is too large", {
        expected: `at most ${MAX_CONFIG_BYTES} bytes (1 MB)`,
        actual: await sizeOf(file),
      }),
    };
  }
  return textProblem(file, bytes) ?? { text: new TextDecoder().decode(bytes) };
}

async function readBounded(file: string): Promise<Buffer> {
  const handle = await open(file, "r");
  try {
    const buffer = Buffer.alloc(MAX_CONFIG_BYTES + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await handle.close();
  }
}

async function sizeOf(file: string): Promise<string> {
  const { size } = await Bun.file(file).stat();
  return size > MAX_CONFIG_BYTES ? `${size} bytes (${(size / 1024 ** 2).toFixed(1)} MB)` : "more";
}

function cause(error: unknown): string {
  switch (systemCode(error)) {
    case "EISDIR":
      return "it is a folder, not a file";
    case "EACCES":
      return "this user may not read it; check its owner and mode";
    default:
      return messageOf(error);
  }
}

function textProblem(file: string, bytes: Buffer): TextResult | undefined {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    const actual = `UTF-16 ${first === 0xff ? "LE" : "BE"} (by its byte order mark)`;
    return {
      problem: place(file, 1, 1, "wrong encoding: save the file as UTF-8", { expected: "UTF-8", actual }),
    };
  }
  const zero = bytes.indexOf(0);
  if (zero >= 0) {
    const { line, column } = placeOf(bytes, zero);
    const message = `a NUL byte at byte offset ${zero}: this is not a text file in UTF-8`;
    return { problem: place(file, line, column, message) };
  }
  if (isUtf8(bytes)) return undefined;
  const offset = firstInvalid(bytes);
  const { line, column } = placeOf(bytes, offset);
  const actual = `byte 0x${bytes[offset]!.toString(16).padStart(2, "0")} at offset ${offset}`;
  return {
    problem: place(file, line, column, "wrong encoding: save the file as UTF-8", {
      expected: "UTF-8",
      actual,
    }),
  };
}

/** Offset of the first byte that is no part of a UTF-8 character; the bytes are known to hold one. */
function firstInvalid(bytes: Buffer): number {
  for (let offset = 0; offset < bytes.length;) {
    const lead = bytes[offset]!;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (!isUtf8(bytes.subarray(offset, offset + length))) return offset;
    offset += length;
  }
  return 0;
}

function placeOf(bytes: Buffer, offset: number): { line: number; column: number } {
  const before = bytes.subarray(0, offset);
  const start = before.lastIndexOf(0x0a) + 1;
  let line = 1;
  for (const byte of before) if (byte === 0x0a) line++;
  return { line, column: before.subarray(start).toString("utf8").length + 1 };
}

function place(
  file: string,
  line: number,
  column: number,
  message: string,
  more: Pick<ConfigProblem, "expected" | "actual"> = {},
): ConfigProblem {
  return { file, line, column, path: "", message, ...more };
}
