import { isDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import { SEVERITIES } from "../model/event.ts";
import { FINDING_STATES } from "../model/finding.ts";
import type { Query } from "./client/follow.ts";

const STATES = ["unresolved", ...FINDING_STATES, "all"];

/** Flags that say which findings are meant. */
export const FILTER_ARGS = {
  state: {
    type: "string",
    valueHint: "STATE",
    description: `One of ${STATES.join(", ")}`,
  },
  severity: { type: "string", valueHint: "NAME", description: `One of ${SEVERITIES.join(", ")}` },
  rule: { type: "string", valueHint: "NAME", description: "Of this rule" },
  since: { type: "string", valueHint: "DURATION", description: "Raised in this time, like 24h" },
} as const;

export function findingFilter(
  args: { state?: string; severity?: string; rule?: string; since?: string },
  usual: string,
): Query {
  const state = oneOf("state", args.state ?? usual, STATES);
  const severity = args.severity && oneOf("severity", args.severity, SEVERITIES);
  if (args.since !== undefined && !isDuration(args.since)) {
    throw new HoldfastError("usage", `--since must be a duration like 30m or 24h, not "${args.since}"`);
  }
  return { state: state === "all" ? undefined : state, severity, rule: args.rule, since: args.since };
}

export function oneOf(flag: string, value: string, known: readonly string[]): string {
  if (known.includes(value)) return value;
  throw new HoldfastError("usage", `--${flag} must be one of ${known.join(", ")}, not "${value}"`);
}
