import type { Setting } from "./grammar.ts";
import { type FaultKind, KINDS } from "./faults-drawn.ts";
import type { Manner } from "./workers.ts";

export interface Aim {
  label: string;
  kind: FaultKind;
}

/** Faults that one seed aims at on purpose, so that no write is spared over many seeds. */
const AIMS = 14;

export function aimsOf(seed: number, labels: string[]): Aim[] {
  const all = labels.flatMap((label) => KINDS.map((kind) => ({ label, kind })));
  return Array.from({ length: AIMS }, (_, at) => all[(seed * AIMS + at * 37) % all.length]!);
}

/** Writes that take a while to come about. */
export function isRare(label: string): boolean {
  return givesUp(label) || /trim|dead|remove|expire|renumber|forget-segment|sweep|later/i.test(label);
}

/** Writes of an outbox that is beyond its cap. */
export function givesUp(label: string): boolean {
  return /^outbox\.(evict|loss|take-in|renumber-loss)$/.test(label);
}

/** What an attempt has added is removed by the next one. */
export function retryMore({ pipelines }: Setting): void {
  for (const step of [...pipelines.values()].flatMap(({ steps }) => steps)) {
    step.effect = "idempotent";
    step.retry.attempts = 3;
  }
}

/** What workers must do so that these writes happen. */
export function preferenceOf(labels: readonly string[]): Manner | null {
  if (labels.some((label) => /steps.remove|later/i.test(label))) return "adds";
  return labels.some((label) => /dead/i.test(label)) ? "gives-up" : null;
}
