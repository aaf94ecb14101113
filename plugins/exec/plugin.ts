import { resolve } from "node:path";
import { ActionError, defineAction, type Json, type PluginLog, size, v } from "../../src/sdk/holdfast.ts";
import { findProgram } from "./find-program.ts";
import { LiveGroups, runProgram, type ProgramResult } from "./run-program.ts";
import { environment } from "./environment.ts";

const argument = v.pipe(
  v.string(),
  v.maxLength(128 * 1024),
  v.check((text) => !text.includes("\0"), "text without a zero byte"),
);
const program = v.pipe(argument, v.minLength(1), v.maxLength(4096));

/** What the program may do beyond running and reading its own folder; passed on to the manifest's permissions. */
const paths = v.pipe(v.array(program), v.maxLength(200));
const texts = v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(512))), v.maxLength(200));

const settings = v.strictObject({
  command: v.pipe(
    v.union([program, v.pipe(v.array(argument), v.minLength(1), v.maxLength(1000))]),
    v.description("A program, or a list of a program and its arguments; never a shell line"),
  ),
  input: v.pipe(
    v.optional(v.any()),
    v.description("JSON for its stdin; text, numbers and booleans of it are also in HOLDFAST_INPUT_NAME"),
  ),
  env: v.pipe(
    v.optional(
      v.record(
        v.pipe(v.string(), v.regex(/^[A-Za-z_]\w{0,127}$/, "a variable's name: letters, digits, _")),
        argument,
      ),
      {},
    ),
    v.description("More environment variables"),
  ),
  cwd: v.pipe(v.optional(program), v.description("Folder to run in; default: the agent's home")),
  output: v.pipe(
    v.optional(v.picklist(["auto", "text", "json"]), "auto"),
    v.description("How stdout is read; auto: as JSON if it is JSON, else as text"),
  ),
  max_output: v.pipe(
    size("256KB"),
    v.maxValue(1024 * 1024, "at most 1MB"),
    v.description("Bytes of stdout that are kept; the rest is cut"),
  ),
  read: v.pipe(
    v.optional(paths),
    v.description("Files and folders that it may read, beside its own folder and the host's programs"),
  ),
  write: v.pipe(
    v.optional(paths),
    v.description("Files and folders that it may change; a file that is missing is made, empty"),
  ),
  connect: v.pipe(
    v.optional(texts),
    v.description("Where it may connect to: host:port, like api.example.org:443 or *:443"),
  ),
  host: v.pipe(
    v.optional(texts),
    v.description("Host operations that it may ask for, like systemd.restart:nginx.service"),
  ),
});

/** Last lines of each stream that go into the log. */
const MAX_TOLD_LINES = 200;

const groups = new LiveGroups();

export default defineAction({
  name: "exec",
  description: "Runs a program or script on the host; exit code 0 is success",
  settings,
  permissions: {
    exec: ["@system", "${program(settings.command)}?"],
    read: ["@system", "${folder(program(settings.command))}?", "${settings.cwd}?", "${settings.read}"],
    write: ["${settings.write}"],
    connect: ["${settings.connect}"],
    host: ["${settings.host}"],
  },
  resources: { memory: "512MB", cpu: 1, processes: 256, openFiles: 1024, fileSize: "1GB", disk: "1GB" },
  async run(context): Promise<Json> {
    const { settings, agent, signal, clock } = context;
    const [name, ...args] = [settings.command].flat() as [string, ...string[]];
    const env = environment(context);
    const cwd = resolve(agent.home, settings.cwd ?? ".");
    const program = await findProgram(name, { home: agent.home, cwd, path: env.PATH ?? "" });
    const result = await runProgram({
      command: [program, ...args],
      cwd,
      env,
      stdin: settings.input === undefined ? "" : JSON.stringify(settings.input),
      maxOutput: settings.max_output,
      groups,
      signal,
      clock,
    });
    if (result.exitCode !== 0) tell(context.log, result);
    return present(program, result, settings.output);
  },
});

/** What a program printed that failed: an error has only the end of it, and there is no output to keep the rest. */
function tell(log: PluginLog, { stdout, stderr }: ProgramResult): void {
  const lines = (text: string) =>
    text
      .split("\n")
      .filter((line) => line.trim() !== "")
      .slice(-MAX_TOLD_LINES);
  for (const line of lines(stdout)) log.info(line, { stream: "stdout" });
  for (const line of lines(stderr)) log.warn(line, { stream: "stderr" });
}

function present(program: string, result: ProgramResult, form: "auto" | "text" | "json"): Json {
  const { exitCode, signalCode, stdout, stderr, truncated } = result;
  if (exitCode !== 0) {
    const how = signalCode ? `was ended by ${signalCode}` : `ended with exit code ${exitCode}`;
    const tail = stderr.trimEnd().split("\n").slice(-5).join("\n").slice(-1000);
    throw new ActionError(`${program} ${how}${tail ? `: ${tail}` : ", and wrote nothing to stderr"}`, {
      code: "failed",
    });
  }
  const rest = { ...(stderr && { stderr }), ...(truncated && { truncated }) };
  if (form === "text") return { exit: 0, stdout, ...rest };
  const parsed = truncated ? undefined : parseJson(stdout);
  if (parsed !== undefined) return { exit: 0, json: parsed, ...rest };
  if (form === "auto") return { exit: 0, stdout, ...rest };
  const why = truncated ? "it was longer than max_output" : "it is not JSON";
  throw new ActionError(`${program} succeeded, but its output cannot be used: ${why}`, {
    code: "invalid",
    retryable: false,
  });
}

function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
