import { zstdDecompress } from "node:zlib";
import { HoldfastError, messageOf } from "../core/errors.ts";
import type { Records } from "./gen/holdfast/v1/sync.ts";
import { MAX_FRAME_BYTES } from "./transport.ts";

/** Higher levels take a fifth more time for events and give nothing. */
const LEVEL = 1;
/** So few bytes take less time than handing them to another thread. */
const AT_ONCE = 16 * 1024;
const NO_BYTES = Buffer.alloc(0);

/** The same frame with its rows compressed (capability `zstd`). Much is compressed beside the caller's thread. */
export async function compressed(records: Records): Promise<{ records: Records; rawBytes: number }> {
  const { RecordList } = await frames();
  const raw = RecordList.encode({ records: records.records }).finish();
  const options = { level: LEVEL } as const;
  const zstd =
    raw.length < AT_ONCE ? Bun.zstdCompressSync(raw, options) : await Bun.zstdCompress(raw, options);
  return { records: { ...records, records: [], zstd }, rawBytes: raw.length };
}

/**
 * The same frame with its rows, whichever way they came. Throws `invalid` for what is no zstd, is larger than a frame may
 * be (it is decompressed no further), holds no list of rows, or comes beside rows; `allowed` says whether it may come at all.
 */
export async function decompressed(records: Records, allowed: boolean): Promise<Records> {
  if (records.zstd.length === 0) return records;
  if (!allowed) throw malformed("it is compressed, which was not agreed on for this session");
  if (records.records.length > 0) throw malformed("it has rows twice, compressed and not");
  const { RecordList } = await frames();
  const raw = await bounded(records.zstd);
  try {
    return { ...records, records: RecordList.decode(raw).records, zstd: NO_BYTES };
  } catch (error) {
    throw malformed(`what is compressed is no list of rows (${messageOf(error)})`);
  }
}

/** As late as that: with the frames comes gRPC. */
function frames() {
  return import("./gen/holdfast/v1/sync.ts");
}

async function bounded(bytes: Uint8Array): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  // Bun.zstdDecompress has no bound: a few kilobytes would become a gigabyte.
  zstdDecompress(bytes, { maxOutputLength: MAX_FRAME_BYTES }, (error, raw) => {
    if (error) reject(malformed(reason(error)));
    else resolve(raw);
  });
  return await promise;
}

function reason(error: NodeJS.ErrnoException): string {
  if (error.code === "ERR_BUFFER_TOO_LARGE") return `decompressed it is larger than ${MAX_FRAME_BYTES} bytes`;
  return `it cannot be decompressed (${error.message})`;
}

function malformed(why: string): HoldfastError {
  return new HoldfastError("invalid", `malformed batch of records: ${why}`);
}
