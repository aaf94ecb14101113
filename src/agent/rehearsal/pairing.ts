import { nameOf, verdictOf } from "./deeds.ts";
import type { Compared, Deed } from "./ports.ts";

/** What time brought about may have come so much later in the past, where the agent was busy or began anew. */
const APART_MS = 300_000;
/** Deeds that wait for their counterpart; beyond it the oldest are told as they are. */
const MAX_WAITING = 10_000;

export function told(verdict: Compared["verdict"], deed: Deed, was: Deed | null = null): Compared {
  return { verdict, deed, was, reason: null };
}

/** Deeds that go back to the same events: those that are alike first, what is left over by name, the rest alone. */
export function pairUp(proposed: Deed[], past: Deed[]): Compared[] {
  if (proposed.length === 0 && past.length === 0) return [];
  const byName = new Map<string, Deed[]>();
  for (const deed of proposed) {
    const name = nameOf(deed);
    const same = byName.get(name);
    if (same) same.push(deed);
    else byName.set(name, [deed]);
  }
  const compared: Compared[] = [];
  const rest: Deed[] = [];
  for (const deed of past) {
    const candidates = byName.get(nameOf(deed)) ?? [];
    const at = candidates.findIndex((each) => verdictOf(each, deed) === "same");
    if (at < 0) rest.push(deed);
    else compared.push(told("same", candidates.splice(at, 1)[0]!, deed));
  }
  for (const deed of rest) {
    const other = byName.get(nameOf(deed))?.shift();
    compared.push(other === undefined ? told("removed", deed) : told("changed", other, deed));
  }
  for (const left of byName.values()) compared.push(...left.map((deed) => told("added", deed)));
  return compared;
}

interface Waiting {
  deed: Deed;
  /** On the rehearsal's clock. */
  trustedMs: number;
  verdict: "added" | "removed";
}

/** Deeds that time alone brought about: the two sides of one come at different moments, and either may be first. */
export class TimedPairs {
  /** In the order in which they came; those that were paired are gone. */
  readonly #waiting = new Set<Waiting>();
  /** Of one name all wait for the same side, the oldest first. */
  readonly #byName = new Map<string, Waiting[]>();

  add(verdict: "added" | "removed", deed: Deed, trustedMs: number): Compared | null {
    const name = nameOf(deed);
    const [first] = this.#byName.get(name) ?? [];
    if (first !== undefined && first.verdict !== verdict) {
      this.#dropFirst(name);
      const [proposed, past] = verdict === "added" ? [deed, first.deed] : [first.deed, deed];
      return told(verdictOf(proposed, past), proposed, past);
    }
    const entry = { deed, trustedMs, verdict };
    this.#waiting.add(entry);
    const same = this.#byName.get(name);
    if (same) same.push(entry);
    else this.#byName.set(name, [entry]);
    return null;
  }

  /** Those whose counterpart has not come in time. */
  expire(trustedMs: number): Compared[] {
    const over: Compared[] = [];
    for (const { deed, verdict, trustedMs: sinceMs } of this.#waiting) {
      if (trustedMs - sinceMs <= APART_MS && this.#waiting.size <= MAX_WAITING) break;
      this.#dropFirst(nameOf(deed));
      over.push(told(verdict, deed));
    }
    return over;
  }

  #dropFirst(name: string): void {
    const same = this.#byName.get(name)!;
    this.#waiting.delete(same.shift()!);
    if (same.length === 0) this.#byName.delete(name);
  }
}
