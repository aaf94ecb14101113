/** Both verifiers of exports: ours, and the one in Python that was written from docs/sync.md. */
import { join } from "node:path";
import { messageOf } from "../../src/core/errors.ts";
import type { StreamReport } from "../../src/protocol/chain-report.ts";
import { ChainVerifier } from "../../src/protocol/chain-verifier.ts";
import { readChainFile } from "../../src/cli/chain-file.ts";

/** What both say of a stream. */
export interface Verdict {
  agent: string;
  epoch: string;
  lane: number;
  segment: number;
  last: number;
  rows: number;
  classes: Record<string, number>;
  lost: number;
  beside: number;
  /** Number up to which a receipt proves the hub's copy. */
  proved: number | null;
  unfinished: boolean;
  faults: { kind: string; number: number }[];
}

export interface Verdicts {
  whole: boolean;
  streams: Verdict[];
  /** How many things are wrong beside the streams. */
  problems: number;
}

/** Null for a file that cannot be read. */
export async function ourVerdicts(path: string): Promise<Verdicts | null> {
  const streams: Verdict[] = [];
  const verifier = new ChainVerifier((report) => void streams.push(verdictOf(report)));
  try {
    for await (const item of readChainFile(path, (problem) => verifier.note(problem)))
      await verifier.take(item);
    const { ok, problems } = await verifier.end();
    return { whole: ok, streams, problems: problems.length };
  } catch (error) {
    if (/line \d+ of the export|before any stream|is empty/.test(messageOf(error))) return null;
    throw error;
  }
}

function verdictOf(report: StreamReport): Verdict {
  const { agent, epoch, lane, segment, last, rows, classes, lost, beside, unfinished } = report;
  const faults = report.problems.map(({ kind, number }) => ({ kind, number }));
  const proved = report.proved?.number ?? null;
  return { agent, epoch, lane, segment, last, rows, classes, lost, beside, proved, unfinished, faults };
}

/** In the order of the files; null for one that cannot be read. */
export async function pythonVerdicts(paths: string[]): Promise<(Verdicts | null)[]> {
  const child = Bun.spawn([await python(), join(import.meta.dir, "verify.py"), ...paths], {
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  const lines = stdout.trim().split("\n");
  if (lines.length !== paths.length) throw new Error(`verify.py broke off:\n${stderr}`);
  return lines.map((line) => {
    const said = JSON.parse(line) as {
      whole: boolean;
      streams: Verdict[];
      problems: string[];
      unreadable?: string;
    };
    if (said.unreadable !== undefined) return null;
    return { whole: said.whole, streams: said.streams, problems: said.problems.length };
  });
}

/** The first Python here that has what the verifier needs. */
async function python(): Promise<string> {
  for (const name of ["python3", "/usr/bin/python3"]) {
    const probe = Bun.spawn([name, "-c", "import cryptography"], { stdout: "ignore", stderr: "ignore" });
    if ((await probe.exited) === 0) return name;
  }
  throw new Error("no python3 here has the package cryptography (Debian: python3-cryptography)");
}
