import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fault } from "../../storage/faults.ts";
import { openInProcessStore } from "../in-process-store.ts";
import type { Seeded } from "../seeded.ts";

export const KINDS = ["error", "crash before", "crash after"] as const;
export type FaultKind = (typeof KINDS)[number];

const ERRORS = ["SQLITE_FULL", "SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_CONSTRAINT"];

/** A folder in memory where there is one: the disk is simulated, so a real one would only cost time. */
export function makeFolder(): string {
  const memory = "/dev/shm";
  return mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), "holdfast-simulation-"));
}

/** Labels of the store's writes, asked of the store itself. */
export async function writeLabels(): Promise<string[]> {
  const folder = makeFolder();
  try {
    const ids = { next: () => "id", random: () => 0, hex: (bytes: number) => "00".repeat(bytes) };
    const store = await openInProcessStore({ path: join(folder, "agent.db"), ids, wall: () => 0 });
    const labels = store.labels();
    await store.close();
    return labels;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function faultOf(label: string, kind: FaultKind, random: Seeded, skip: number): Fault {
  if (kind === "error") return { label, at: "before", with: random.pick(ERRORS), skip };
  return { label, at: kind === "crash before" ? "before" : "after", with: "crash", skip };
}

export function kindOf({ at, with: what }: Fault): FaultKind {
  if (what !== "crash") return "error";
  return at === "before" ? "crash before" : "crash after";
}

/** How often each fault struck, over many seeds. */
export class FaultTable {
  readonly #counts = new Map<string, number>();

  constructor(readonly labels: string[]) {}

  struck(fault: Fault): void {
    this.merge({ [`${fault.label} ${kindOf(fault)}`]: 1 });
  }

  count(label: string, kind: FaultKind): number {
    return this.#counts.get(`${label} ${kind}`) ?? 0;
  }

  /** What another table counted, as it came from another process. */
  merge(counts: Record<string, number>): void {
    for (const [place, count] of Object.entries(counts)) {
      this.#counts.set(place, (this.#counts.get(place) ?? 0) + count);
    }
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  /** Faults that never struck. */
  missing(): { label: string; kind: FaultKind }[] {
    return this.labels.flatMap((label) =>
      KINDS.filter((kind) => this.count(label, kind) === 0).map((kind) => ({ label, kind })),
    );
  }

  toString(): string {
    const wide = Math.max(...this.labels.map(({ length }) => length));
    const row = (name: string, cells: (string | number)[]) =>
      [name.padEnd(wide), ...cells.map((cell) => String(cell).padStart(12))].join(" ");
    const rows = this.labels.map((label) =>
      row(
        label,
        KINDS.map((kind) => this.count(label, kind)),
      ),
    );
    return [row("write", [...KINDS]), ...rows].join("\n");
  }
}
