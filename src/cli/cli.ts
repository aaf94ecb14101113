import { type CommandDef, defineCommand, runCommand } from "citty";
import { ERROR_CODES, HoldfastError, messageOf } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";

type Lazy = () => Promise<CommandDef<any>>;

/** One file per command, loaded only when it is asked for. */
const commands: Record<string, Lazy> = {
  up: () => import("./up/up.ts").then((module) => module.up),
  agent: () => import("./agent.ts").then((module) => module.agent),
  config: () => import("./config.ts").then((module) => module.config),
  plugin: () => import("./plugin.ts").then((module) => module.plugin),
  agents: () => import("./agents.ts").then((module) => module.agents),
  events: () => import("./events.ts").then((module) => module.events),
  run: () => import("./run.ts").then((module) => module.run),
  runs: () => import("./runs.ts").then((module) => module.runs),
  dead: () => import("./dead.ts").then((module) => module.dead),
  rules: () => import("./rules.ts").then((module) => module.rules),
  schedules: () => import("./schedules.ts").then((module) => module.schedules),
  brake: () => import("./brake.ts").then((module) => module.brake),
  silence: () => import("./silence.ts").then((module) => module.silence),
  finding: () => import("./finding.ts").then((module) => module.finding),
  memory: () => import("./memory.ts").then((module) => module.memory),
  param: () => import("./param.ts").then((module) => module.param),
  secret: () => import("./secret.ts").then((module) => module.secret),
  token: () => import("./token.ts").then((module) => module.token),
  hub: () => import("./hub.ts").then((module) => module.hub),
  call: () => import("./call.ts").then((module) => module.call),
  "host-service": () => import("./host-service.ts").then((module) => module.hostService),
  verify: () => import("./verify.ts").then((module) => module.verify),
  doctor: () => import("./doctor.ts").then((module) => module.doctor),
  version: () => import("./version.ts").then((module) => module.version),
};

export const root = defineCommand({
  meta: {
    name: "holdfast",
    version: VERSION,
    description: "Watches hosts, decides and acts; one executable is agent and hub",
  },
  subCommands: commands,
});

/** Runs one command line and leaves its exit code in `process.exitCode`. Errors go to stderr as one clear message. */
export async function runCli(argv: string[]): Promise<void> {
  try {
    if (argv[0] === "--version") return console.log(VERSION);
    if (argv[0] === "__settings")
      return await (await import("./start-settings.ts")).printStartSettings(argv[1]!);
    refuseInScript(argv, process.env);
    if (argv.length === 0 || argv.includes("--help") || argv.includes("-h")) return await showHelp(argv);
    await runCommand(root, { rawArgs: argv });
  } catch (error) {
    process.exitCode = await report(error, argv);
    // The pipe that tells a child of `holdfast up` that its parent has gone would keep one that could not start.
    if (process.env.HOLDFAST_PARENT_PIPE === "1") process.exit();
  }
}

/** A script that may run `holdfast call` is not meant to start agents; what really holds it is its sandbox. */
function refuseInScript(argv: string[], env: Record<string, string | undefined>): void {
  if (env.HOLDFAST_CALL_FD === undefined || argv.length === 0) return;
  if (["call", "version", "--help", "-h"].includes(argv[0]!)) return;
  throw new HoldfastError("denied", "inside a script of an agent only holdfast call and version work");
}

async function report(error: unknown, argv: string[]): Promise<number> {
  if (error instanceof HoldfastError) {
    console.error(`holdfast: ${error.message}`);
    return ERROR_CODES[error.code].exit;
  }
  if (error instanceof Error && error.name === "CLIError") {
    const { usageProblem } = await import("./help.ts");
    console.error(`holdfast: ${await usageProblem(root, argv, Bun.stripANSI(error.message))}`);
    return ERROR_CODES.usage.exit;
  }
  console.error(`holdfast: ${messageOf(error)}`);
  if (process.env.HOLDFAST_DEBUG) console.error(error);
  return ERROR_CODES.failed.exit;
}

async function showHelp(argv: string[]): Promise<void> {
  const [{ helpText }, { wantsColor }] = await Promise.all([import("./help.ts"), import("./output.ts")]);
  const text = await helpText(root, argv);
  console.log(wantsColor(process.stdout, process.env) ? text : Bun.stripANSI(text));
}
