import { type ArgsDef, defineCommand } from "citty";
import type { AgentHome } from "../agent/config/home.ts";
import { systemClock } from "../core/clock.ts";
import { ERROR_CODES, HoldfastError } from "../core/errors.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { standardOutput } from "./output.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON (docs/sandbox.md has every key)" },
} as const satisfies ArgsDef;

export const doctor = defineCommand({
  meta: {
    name: "doctor",
    description:
      "Say what this host's kernel holds workers to, and what is wrong; exit 1 when something is\n\nExample: holdfast doctor --json",
  },
  args: ARGS,
  async run({ args }) {
    checkArguments(ARGS, args);
    const [{ examine }, { reportLines }] = await Promise.all([
      import("./doctor/examine.ts"),
      import("./doctor/report.ts"),
    ]);
    const uid = process.getuid?.() ?? null;
    const report = await examine({ ...subject(args), clock: systemClock(), uid });
    const out = standardOutput(process.env);
    if (args.json) await out.line(JSON.stringify(report));
    else for (const line of reportLines(report, out.color)) await out.line(line);
    if (!report.ok) process.exitCode = ERROR_CODES.failed.exit;
  },
});

/** The agent that was named, or the only one. Without any, the host can be looked at all the same. */
function subject(args: { home?: string; id?: string }): { home: AgentHome | null; noHome: string | null } {
  try {
    return { home: findAgentHome(args), noHome: null };
  } catch (error) {
    const named = args.id !== undefined || args.home !== undefined;
    if (!(error instanceof HoldfastError) || named) throw error;
    return { home: null, noHome: error.message };
  }
}
