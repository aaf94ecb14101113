import type { Clock } from "../../core/clock.ts";
import { ChainVerifier } from "../../protocol/chain-verifier.ts";
import type { StreamItem } from "../../protocol/chain-items.ts";
import { ChainFile } from "../chain-file.ts";
import type { Output } from "../output.ts";
import { breather, progressOn } from "../progress.ts";
import type { OpenChains } from "./open-chains.ts";
import { closingLines, projectionLine, streamLines } from "./report-lines.ts";

export interface VerifyOptions {
  out: Output;
  json: boolean;
  /** Where all that is read goes as well. */
  file: string | undefined;
  clock: Clock;
  signal: AbortSignal;
}

const LOOK_EVERY = 256;

/** Reads everything once, prints each stream as it ends, and resolves with whether all is whole. */
export async function verifyChains(chains: OpenChains, options: VerifyOptions): Promise<boolean> {
  const { out, json } = options;
  const print = async (lines: string[]) => {
    for (const line of lines) await out.line(line);
  };
  const verifier = new ChainVerifier(async (report) => {
    await print(json ? [JSON.stringify({ kind: "stream", ...report })] : streamLines(report, out));
  });
  const file = options.file === undefined ? undefined : new ChainFile(options.file);
  try {
    await readAll(chains, verifier, file, options);
    file?.end();
  } catch (error) {
    file?.discard();
    throw error;
  }
  const { problems, projections } = chains.end();
  for (const problem of problems) verifier.note(problem);
  const report = await verifier.end();
  if (json) await print([JSON.stringify({ kind: "summary", ...report, projections })]);
  else await print([...projections.map(projectionLine), ...closingLines(report, chains.what, out)]);
  return report.ok;
}

async function readAll(
  chains: OpenChains,
  verifier: ChainVerifier,
  file: ChainFile | undefined,
  { clock, signal }: VerifyOptions,
): Promise<void> {
  const progress = progressOn(clock);
  const breathe = breather(clock);
  let rows = 0;
  let stream: StreamItem | undefined;
  try {
    for await (const item of chains.items()) {
      file?.take(item);
      const waiting = verifier.take(item);
      if (waiting !== undefined) await waiting;
      if (item.kind === "stream") stream = item;
      if (item.kind !== "row" || stream === undefined) continue;
      chains.row(stream, item);
      if (++rows % LOOK_EVERY !== 0) continue;
      progress.show(rows, chains.rows, "rows");
      await breathe();
      signal.throwIfAborted();
    }
  } finally {
    progress.end();
  }
}
