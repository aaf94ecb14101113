import { type ArgsDef, defineCommand } from "citty";
import { existsSync } from "node:fs";
import type { AgentHome } from "../agent/config/home.ts";
import type { LoadedConfig } from "../agent/config/load.ts";
import { policyText } from "../agent/config/policy.ts";
import { systemClock } from "../core/clock.ts";
import type { Config } from "../model/config.ts";
import { formatProblem } from "../model/config-problem.ts";
import { changedSince } from "./config-changed.ts";
import { callAgent } from "./control-client.ts";
import { loadWithPolicy } from "./config-load.ts";
import { HOME_ARGS } from "./home-args.ts";
import { standardOutput } from "./output.ts";
import type { HostGrants } from "./plugin-grants.ts";
import { plainLine } from "./plain-text.ts";
import { checkArguments } from "./strict-args.ts";

const args = {
  file: {
    type: "positional",
    required: false,
    description: "File to check on its own; without it, all that an agent reads",
  },
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export const validate = defineCommand({
  meta: {
    name: "validate",
    description:
      "Check a configuration and the agent's policy; every problem is one line, file:line:column\n\nExample: holdfast config validate agent.yaml",
  },
  args,
  async run(context) {
    checkArguments(args, context.args);
    const { file, home, id, json } = context.args;
    const loaded = await loadWithPolicy({ file, home, id });
    const out = standardOutput(process.env);
    if (json) await out.line(JSON.stringify(asJson(loaded)));
    else
      for (const line of [...lines(loaded), ...(await restartHint(loaded))]) await out.line(plainLine(line));
    if (loaded.config === null) process.exitCode = 1;
  },
});

/** Of an agent that runs with what was there before. */
async function restartHint({ home, config }: Loaded): Promise<string[]> {
  if (home === null || config === null || !existsSync(home.controlSocket)) return [];
  const asked = callAgent<{ uptimeMs: number }>(home.controlSocket, home.id, "GET", "/v1/status");
  // One that does not answer reads the files when it starts.
  const status = await asked.catch(() => null);
  if (status === null) return [];
  const changed = changedSince(home, systemClock().wall() - status.uptimeMs);
  return changed === null ? [] : [changed];
}

type Loaded = LoadedConfig & { home: AgentHome | null; grants: HostGrants | null };

function asJson({ config, problems, files, grants }: Loaded) {
  return {
    valid: config !== null,
    files,
    ...(grants === null ? {} : { policy: { file: grants.policy.path, writable: grants.policy.writable } }),
    problems,
    ...(config === null ? {} : { counts: counts(config) }),
  };
}

function lines({ config, problems, files, grants }: Loaded): string[] {
  if (config === null) {
    const total = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    return [...problems.map(formatProblem), total];
  }
  const parts = Object.entries(counts(config)).map(
    ([name, count]) => `${count} ${count === 1 ? name.slice(0, -1) : name}`,
  );
  const valid = `${files.length === 0 ? "defaults" : files.join(", ")}: valid, ${parts.join(", ")}`;
  return grants === null ? [valid] : [valid, policyText(grants.policy)];
}

function counts(config: Config) {
  return {
    triggers: config.triggers.length,
    rules: config.rules.length,
    pipelines: Object.keys(config.pipelines).length,
    outputs: config.outputs.length,
  };
}
