import { HoldfastError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";
import { SEVERITIES } from "./event.ts";

/** What a silence keeps a rule from: starting runs, telling of findings, emitting events. */
export const MUTES = ["runs", "findings", "events"] as const;
export type Mute = (typeof MUTES)[number];

/** What a silence can be about. `label.NAME` is a label of the agent. */
export const MATCH_NAMES = [
  "rule",
  "namespace",
  "pipeline",
  "trigger",
  "type",
  "subject",
  "key",
  "severity",
] as const;
type MatchName = (typeof MATCH_NAMES)[number];
const LABEL = "label.";

/** `*` in the pattern stands for any text. */
export interface Match {
  name: string;
  pattern: string;
}

/** A rule that fires. Null where there is none: nothing matches that, not even `*`. */
export type FiringFacts = Record<MatchName, string | null>;

export type MuteCounts = Record<Mute, number>;

/** A silence as the store keeps it. */
export interface Silence {
  id: string;
  /** All of them must match. */
  match: Match[];
  mute: Mute[];
  comment: string;
  createdBy: string;
  /** Wall time, for display. */
  createdMs: number;
  /** Trusted milliseconds. */
  untilMs: number;
  /** A person ended it early. Wall time. */
  ended: { by: string; atMs: number } | null;
  /** How often it has held something back. */
  counts: MuteCounts;
}

export const MAX_SILENCE_MS = 366 * 86_400_000;
export const MAX_COMMENT = 1000;
export const MAX_MATCHES = 16;
const MAX_PATTERN = 256;

export function noCounts(): MuteCounts {
  return { runs: 0, findings: 0, events: 0 };
}

/** `name=pattern`. Throws `invalid` for what could never match, with the nearest name. */
export function parseMatch(text: string): Match {
  const at = text.indexOf("=");
  if (at < 1)
    throw new HoldfastError("invalid", `"${text.slice(0, 80)}" is no match: write it like rule=front*`);
  const match = { name: text.slice(0, at).trim(), pattern: text.slice(at + 1).trim() };
  const problem = matchProblem(match);
  if (problem !== null) throw new HoldfastError("invalid", `${text.slice(0, 80)}: ${problem}`);
  return match;
}

/** Null when it can match something. */
export function matchProblem({ name, pattern }: Match): string | null {
  const isLabel = name.startsWith(LABEL) && name.length > LABEL.length;
  if (!isLabel && !(MATCH_NAMES as readonly string[]).includes(name)) {
    const near = nearest(name, [...MATCH_NAMES]);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    return `there is no match of this name; there are ${MATCH_NAMES.join(", ")} and label.NAME${hint}`;
  }
  if (pattern === "" || pattern.length > MAX_PATTERN)
    return `the pattern has 1 to ${MAX_PATTERN} characters; * alone matches whatever there is`;
  if (name !== "severity" || pattern.includes("*")) return null;
  if ((SEVERITIES as readonly string[]).includes(pattern)) return null;
  const near = nearest(pattern, [...SEVERITIES]);
  return `a severity is one of ${SEVERITIES.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`;
}

export function matchText(match: Match[]): string {
  return match.map(({ name, pattern }) => `${name}=${pattern}`).join(" ");
}

/** Whether all of them match, for an agent with these labels. */
export function matchesAll(match: Match[], facts: FiringFacts, labels: Record<string, string>): boolean {
  return match.every(({ name, pattern }) => {
    const value = name.startsWith(LABEL)
      ? (labels[name.slice(LABEL.length)] ?? null)
      : facts[name as MatchName];
    return value !== null && globMatches(pattern, value);
  });
}

/** In a time that grows with the length of both only, whatever the pattern: it comes from outside. */
export function globMatches(pattern: string, text: string): boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) return pattern === text;
  const first = parts[0]!;
  const last = parts.at(-1)!;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length)
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
