/** What every benchmark uses: figures with their baseline and goal, and the compiled executable as a process. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Figure {
  /** What was measured, such as "start to /readyz". */
  name: string;
  value: number;
  unit: "ms" | "µs" | "MB" | "%" | "1/s" | "KB" | "";
  /** The same thing done by something else in the same run. */
  baseline?: { name: string; value: number };
  /** What the figure is held against; without one it is only reported. */
  goal?: Goal;
}

export type Goal =
  | { kind: "at most" | "at least"; value: number }
  /** Of value ÷ baseline. */
  | { kind: "ratio at most" | "ratio at least"; value: number }
  /** Of value − baseline, in the figure's unit. */
  | { kind: "over baseline at most"; value: number };

export interface BenchContext {
  /** The compiled dist/holdfast, built for this run. */
  executable: string;
  /** A folder of this benchmark's own, removed behind it. */
  folder: string;
  /** Says on stderr what goes on, for what takes more than a second. */
  progress(text: string): void;
}

export interface Bench {
  /** What is compared with what, in a sentence. */
  about: string;
  run(context: BenchContext): Promise<Figure[]>;
}

/** Null where there is no goal. */
export function meetsGoal(figure: Figure): boolean | null {
  const { goal, value, baseline } = figure;
  if (!goal) return null;
  switch (goal.kind) {
    case "at most":
      return value <= goal.value;
    case "at least":
      return value >= goal.value;
    case "ratio at most":
      return baseline !== undefined && value / baseline.value <= goal.value;
    case "ratio at least":
      return baseline !== undefined && value / baseline.value >= goal.value;
    case "over baseline at most":
      return baseline !== undefined && value - baseline.value <= goal.value;
  }
}

/** The value below which a share of the samples lies (nearest rank); 0.5 is the median. */
export function percentile(samples: number[], share: number): number {
  if (samples.length === 0) throw new Error("there are no samples to take a percentile of");
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!;
}

export const median = (samples: number[]) => percentile(samples, 0.5);

/** Milliseconds that it takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** Runs with a fresh folder, inside of `within`, and removes it. */
export async function withFolder<T>(
  work: (folder: string) => Promise<T>,
  within: string = tmpdir(),
): Promise<T> {
  const folder = await mkdtemp(join(within, "holdfast-bench-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
