import { readFileSync } from "node:fs";
import { type ArgsDef, defineCommand } from "citty";
import * as v from "valibot";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { HUB_HOME_ARGS, hubBase } from "./hub-args.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = { ...HUB_HOME_ARGS } as const satisfies ArgsDef;
const TIMEOUT_MS = 5000;

const runFile = v.object({ pid: v.number(), api: v.string(), grpc: v.string(), health: v.string() });
const healthBody = v.object({
  status: v.picklist(["ok", "degraded", "failed"]),
  hub: v.string(),
  version: v.string(),
  phase: v.string(),
  checks: v.array(v.object({ name: v.string(), state: v.string(), reason: v.optional(v.string()) })),
});

export const hubStatus = defineCommand({
  meta: {
    name: "status",
    description:
      "Say how the hub of this machine does; exit code 5 when it does not run\n\nExample: holdfast hub status",
  },
  args: ARGS,
  async run({ args }) {
    checkArguments(ARGS, args);
    const { hubHome, requireHub } = await import("../hub/home.ts");
    const base = hubBase(args.home);
    const home = hubHome(base);
    requireHub(home);
    const urls = readRunFile(home.runFile, base);
    const health = await askHealth(urls.health, base);
    if (args.json) console.log(JSON.stringify({ running: true, home: home.root, ...urls, ...health }));
    else print(home.root, urls, health);
    if (health.status === "failed") process.exitCode = 1;
  },
});

function print(
  root: string,
  urls: v.InferOutput<typeof runFile>,
  health: v.InferOutput<typeof healthBody>,
): void {
  console.log(`hub      ${health.hub}, version ${health.version}, ${health.phase}, pid ${urls.pid}`);
  console.log(`home     ${root}`);
  console.log(`api      ${urls.api}\nagents   ${urls.grpc}\nhealth   ${urls.health}`);
  for (const { name, state, reason } of health.checks) {
    console.log(`${name.padEnd(8)} ${state}${reason === undefined ? "" : `: ${reason}`}`);
  }
}

function readRunFile(path: string, base: string): v.InferOutput<typeof runFile> {
  try {
    return v.parse(runFile, JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    throw notRunning(base, error);
  }
}

async function askHealth(url: string, base: string): Promise<v.InferOutput<typeof healthBody>> {
  try {
    const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return v.parse(healthBody, await answer.json());
  } catch (error) {
    throw notRunning(base, error);
  }
}

function notRunning(base: string, cause: unknown): HoldfastError {
  const why =
    cause instanceof Error && "code" in cause && cause.code === "ENOENT" ? "" : ` (${messageOf(cause)})`;
  return new HoldfastError(
    "unreachable",
    `The hub under ${base} does not answer${why}: start it with \`holdfast hub run --home ${base}\``,
    { cause },
  );
}
