import type { ChunkSource } from "./chunk-source.ts";
import { LineSplitter, type ScriptLine } from "./line-splitter.ts";

/** Hands on the lines of a pipe, those of one chunk at a time; the next chunk is read when they have been taken. */
export async function readLines(
  source: ChunkSource,
  maxBytes: number,
  take: (lines: ScriptLine[]) => void | Promise<void>,
): Promise<void> {
  const splitter = new LineSplitter(maxBytes);
  for (let chunk = await source.read(); chunk; chunk = await source.read()) {
    const lines = splitter.push(chunk);
    if (lines.length > 0) await take(lines);
  }
  const rest = splitter.end();
  if (rest.length > 0) await take(rest);
}
