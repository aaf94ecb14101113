import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import type { AgentHome } from "../agent/config/home.ts";
import { systemClock } from "../core/clock.ts";
import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import { isoTime } from "../core/iso-time.ts";
import { nearest } from "../core/nearest.ts";
import type { Config } from "../model/config.ts";
import { formatProblem } from "../model/config-problem.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { interruption, standardOutput } from "./output.ts";
import { plainLine } from "./plain-text.ts";
import { repeated } from "./run-arguments.ts";
import { checkArguments, wholeNumber } from "./strict-args.ts";

const args = {
  config: {
    type: "string",
    valueHint: "FILE",
    description: "Proposed configuration, on its own; without it, all that the agent reads",
  },
  since: {
    type: "string",
    valueHint: "TIME",
    default: "7d",
    description: "How far back, like 12h or 7d, or a time like 2026-11-21T08:00:00Z",
  },
  until: { type: "string", valueHint: "TIME", description: "Up to here; default: now" },
  rule: { type: "string", valueHint: "NAME", description: "Tell of this rule only; may be given again" },
  store: {
    type: "string",
    valueHint: "FILE",
    description: "A copy of an agent's agent.db, from another host say; it ends with its last event",
  },
  limit: { type: "string", valueHint: "N", default: "50", description: "Differences to show" },
  "fail-on-difference": {
    type: "boolean",
    description: "Exit with 1 when anything would have been different",
  },
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON lines, all of them" },
} as const satisfies ArgsDef;

export const test: CommandDef<any> = defineCommand({
  meta: {
    name: "test",
    description:
      "Evaluate the events of the past against proposed rules, beside what happened; nothing is started or written\n\nExample: holdfast rules test --since 7d",
  },
  args: args as ArgsDef,
  async run(context) {
    checkArguments(args, context.args);
    const given = context.args as unknown as Given;
    const only = repeated(context.rawArgs, "rule");
    const limit = wholeNumber("limit", given.limit, 0, 100_000)!;
    const clock = systemClock();
    const [home, config] = await proposed(given);
    checkRules(only, config);
    const [{ openRehearsal }, { printRehearsal }] = await Promise.all([
      import("../agent/rehearse.ts"),
      import("./rules-test-output.ts"),
    ]);
    const rehearsal = await openRehearsal({
      store: given.store ?? home!.database,
      isCopy: given.store !== undefined,
      agentId: config.agent.id ?? home?.id ?? "unknown",
      config,
      wanted: (nowMs) => timesOf(given, nowMs),
      clock,
    });
    const keys = interruption();
    const out = standardOutput(process.env);
    const signal = AbortSignal.any([keys.signal, out.closed]);
    try {
      const { since, json = false } = given;
      const differences = await printRehearsal(rehearsal, { out, json, limit, only, since, clock, signal });
      if (differences > 0 && given["fail-on-difference"]) process.exitCode = 1;
    } catch (error) {
      if (keys.signal.aborted) throw new HoldfastError("cancelled", "stopped before it came to the end");
      if (!out.closed.aborted) throw error;
    } finally {
      keys.dispose();
      rehearsal.close();
    }
  },
});

interface Given {
  config?: string;
  since: string;
  until?: string;
  store?: string;
  limit: string;
  home?: string;
  id?: string;
  json?: boolean;
  "fail-on-difference"?: boolean;
}

/** The agent that it is about, unless a copy of a store says enough, and the configuration with all its checks. */
async function proposed({ config: file, store, home, id }: Given): Promise<[AgentHome | null, Config]> {
  const [{ loadWithPolicy }, { openKnownCatalog }] = await Promise.all([
    import("./config-load.ts"),
    import("./plugin-checks.ts"),
  ]);
  const isNamed = home !== undefined || id !== undefined;
  const agent = store === undefined || file === undefined || isNamed ? findAgentHome({ home, id }) : null;
  const named = agent === null ? {} : { home: agent.base, id: agent.id };
  const { config, problems } = await loadWithPolicy({ file, ...named }, openKnownCatalog);
  if (config !== null) return [agent, config];
  const total = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems.map((problem) => `  ${plainLine(formatProblem(problem))}`);
  throw new HoldfastError("invalid", `the configuration has ${total}:\n${lines.join("\n")}`);
}

function checkRules(names: string[], { rules }: Config): void {
  const known = rules.map((rule) => rule.name);
  for (const name of names) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const hint = near === undefined ? "" : `; did you mean "${near}"?`;
    throw new HoldfastError("not_found", `the configuration has no rule "${name}"${hint}`);
  }
}

function timesOf({ since, until }: Given, nowMs: number): { sinceMs: number; untilMs: number } {
  const sinceMs = timeOf("since", since, nowMs);
  const untilMs = until === undefined ? nowMs : timeOf("until", until, nowMs);
  if (sinceMs < untilMs) return { sinceMs, untilMs };
  throw new HoldfastError(
    "usage",
    `--since ${since} is not before --until ${until ?? "now"} (${isoTime(untilMs)})`,
  );
}

/** A duration goes back from now. */
function timeOf(flag: string, text: string, nowMs: number): number {
  const ms = isDuration(text) ? nowMs - parseDuration(text) : /^\d{4}-/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(ms)) {
    throw new HoldfastError(
      "usage",
      `--${flag} must be a duration like 12h or 7d, or a time like 2026-11-21T08:00:00Z, not "${text}"`,
    );
  }
  if (ms <= nowMs) return ms;
  throw new HoldfastError("usage", `--${flag} ${text} is in the future: it is ${isoTime(nowMs)} now`);
}
