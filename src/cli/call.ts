import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { callAgent, inheritedChannel } from "../agent/host-operations/call-client.ts";
import { openKernelCalls } from "../agent/host-operations/kernel-calls.ts";
import { ADDITION_VERBS } from "../agent/workers/scripts/addition-calls.ts";
import { systemClock } from "../core/clock.ts";
import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import type { JsonObject } from "../model/json.ts";
import { memoryArguments } from "./call-memory.ts";
import { stateArguments } from "./call-state.ts";

/** Longer than any host operation takes. */
const DEFAULT_TIMEOUT = "35m";
const VERBS = ["host", "log", "memory", "state", ...Object.keys(ADDITION_VERBS)];
const LEVELS = ["debug", "info", "warn", "error"];

export const call = defineCommand({
  meta: {
    name: "call",
    description: [
      "Ask the agent for something, from a script that it runs",
      "  holdfast call host OPERATION [--json ARGUMENTS]     a host operation; prints its result as JSON",
      "  holdfast call log LEVEL TEXT [--field NAME=VALUE]…  a line in the plugin's log",
      "  holdfast call add ACTION [NAME=VALUE…]              a step after this one",
      "  holdfast call finally ACTION [NAME=VALUE…]          a step at the end of the run",
      "  holdfast call on-failure ACTION [NAME=VALUE…]       a step at the end of a run that fails",
      "  holdfast call spawn PIPELINE [NAME=VALUE…]          a run of its own",
      "  holdfast call later PIPELINE [NAME=VALUE…] --in 5m   such a run, put off; or --at TIME (RFC 3339)",
      "  holdfast call memory get KEY                        a value that plugins share; prints {exists, value}",
      "  holdfast call memory set KEY VALUE [--ttl 1h]       sets one, whatever it was",
      "  holdfast call memory checkout KEY                   holds one for an update; prints {token, exists, value}",
      "  holdfast call memory update KEY TOKEN VALUE         changes it, unless the token has expired",
      "  holdfast call memory checkin KEY TOKEN              gives it back unchanged",
      "  holdfast call memory delete KEY | list [PREFIX]",
      "  holdfast call state load                            what this script keeps for itself; prints {exists, value}",
      "  holdfast call state save VALUE [--every 1m]         keeps it, written at most so often; --force: at once",
      "Example: holdfast call host journal.read:nginx.service --json '{\"lines\": 20}'",
    ].join("\n\n"),
  },
  args: {
    verb: {
      type: "positional",
      required: false,
      description: "host, log, memory, state, add, finally, on-failure, spawn or later",
    },
    json: {
      type: "string",
      description: "Arguments of the operation or input of the step, as a JSON object",
    },
    pipeline: { type: "boolean", description: "The step is a pipeline, which is waited for (add)" },
    templates: {
      type: "boolean",
      description: "The input holds ${{ }} templates (add, finally, on-failure)",
    },
    in: { type: "string", valueHint: "5m", description: "How long from now (later)" },
    at: { type: "string", valueHint: "TIME", description: "When, as RFC 3339 (later)" },
    field: { type: "string", description: "A field of the log line, NAME=VALUE; may be repeated" },
    namespace: { type: "string", description: "Another namespace than the run's own (memory)" },
    ttl: { type: "string", description: "The value is gone after this time (memory)" },
    wait: { type: "string", description: "How long to wait for a checkout, 30s by default (memory)" },
    text: { type: "boolean", description: "VALUE is a text, also when it looks like JSON (memory, state)" },
    every: { type: "string", description: "It is written at most so often, 1m by default (state)" },
    force: { type: "boolean", description: "It is durable when this command ends (state)" },
    timeout: { type: "string", description: `How long to wait for the answer (${DEFAULT_TIMEOUT})` },
  },
  run({ rawArgs }) {
    const { verb, args, timeoutMs, silent } = readCall(rawArgs);
    const channel = inheritedChannel(process.env);
    const ids = systemIds();
    const options = { kernel: openKernelCalls(), clock: systemClock(), id: ids.hex(16), timeoutMs };
    const result = callAgent(channel, verb, args, options);
    if (!silent) console.log(JSON.stringify(result));
  },
});

export interface Call {
  verb: string;
  args: JsonObject;
  timeoutMs: number;
  /** Nothing worth printing comes back. */
  silent: boolean;
}

/** The command line as a request. A verb that is not known here goes to the agent, which names those that it has. */
export function readCall(argv: string[]): Call {
  const { positionals, values } = parse(argv);
  const [verb, ...words] = positionals;
  if (verb === undefined) throw usage(`which call? holdfast call ${VERBS.join(", ")}`);
  const timeout = values.timeout ?? DEFAULT_TIMEOUT;
  if (!isDuration(timeout)) throw usage(`--timeout must be a duration, like 30s, not "${timeout}"`);
  const timeoutMs = parseDuration(timeout);
  if (verb === "log") return { verb, args: logArguments(words, values.field ?? []), timeoutMs, silent: true };
  if (verb === "memory") {
    const args = memoryArguments(words, values);
    return { verb, args, timeoutMs, silent: ["set", "update"].includes(args.op as string) };
  }
  if (verb === "state") {
    const args = stateArguments(words, values);
    return { verb, args, timeoutMs, silent: args.op === "save" };
  }
  const given = values.json === undefined ? {} : jsonObject(values.json);
  if (Object.hasOwn(ADDITION_VERBS, verb)) {
    const { pipeline = false, templates = false } = values;
    const args = {
      ...additionArguments(verb, words, given, pipeline),
      ...(templates ? { templates } : {}),
      ...laterTime(verb, values),
    };
    return { verb, args, timeoutMs, silent: true };
  }
  if (verb !== "host") return { verb, args: { words, ...given }, timeoutMs, silent: false };
  if (words.length !== 1) {
    throw usage("one operation: holdfast call host systemd.restart:nginx.service [--json '{…}']");
  }
  return { verb, args: { operation: words[0]!, arguments: given }, timeoutMs, silent: false };
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        json: { type: "string" },
        field: { type: "string", multiple: true },
        timeout: { type: "string" },
        pipeline: { type: "boolean" },
        templates: { type: "boolean" },
        in: { type: "string" },
        at: { type: "string" },
        namespace: { type: "string" },
        ttl: { type: "string" },
        wait: { type: "string" },
        text: { type: "boolean" },
        every: { type: "string" },
        force: { type: "boolean" },
      },
    });
  } catch (error) {
    throw usage(messageOf(error));
  }
}

function logArguments([level = "", ...text]: string[], fields: string[]): JsonObject {
  if (!LEVELS.includes(level) || text.length === 0) {
    throw usage(`a level (${LEVELS.join(", ")}) and a text: holdfast call log info "it works"`);
  }
  const pairs = fields.map((field) => pair(field, `--field ${JSON.stringify(field)}`));
  const args: JsonObject = { level, message: text.join(" ") };
  return pairs.length === 0 ? args : { ...args, fields: Object.fromEntries(pairs) };
}

/** Values are texts; what is to be a number or a list goes in --json. */
function additionArguments(
  verb: string,
  [name, ...words]: string[],
  given: JsonObject,
  pipeline: boolean,
): JsonObject {
  if (name === undefined || name === "" || name.includes("="))
    throw usage(`what? holdfast call ${verb} NAME key=value …`);
  return { name, pipeline, with: { ...given, ...Object.fromEntries(words.map((word) => pair(word))) } };
}

/** Of `later`: when. The agent says what is wrong with it. */
function laterTime(verb: string, { in: delay, at }: { in?: string; at?: string }): JsonObject {
  if (verb !== "later") {
    if (delay === undefined && at === undefined) return {};
    throw usage("--in and --at are for holdfast call later");
  }
  if ((delay === undefined) === (at === undefined))
    throw usage("when? holdfast call later PIPELINE --in 5m, or --at 2027-01-01T00:00:00Z");
  return delay === undefined ? { at: at! } : { in: delay };
}

function pair(word: string, what = JSON.stringify(word)): [string, string] {
  const at = word.indexOf("=");
  if (at < 1) throw usage(`${what} is not NAME=VALUE`);
  return [word.slice(0, at), word.slice(at + 1)];
}

function jsonObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw usage(`--json is not JSON: ${messageOf(error)}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw usage("--json must be an object, like '{\"lines\": 20}'");
  }
  return value as JsonObject;
}

function usage(message: string): HoldfastError {
  return new HoldfastError("usage", `holdfast call: ${message}`);
}
