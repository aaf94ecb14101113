import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { callAgent, inheritedChannel } from "../agent/host-operations/call-client.ts";
import { openKernelCalls } from "../agent/host-operations/kernel-calls.ts";
import { systemClock } from "../core/clock.ts";
import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import type { JsonObject } from "../model/json.ts";

/** Longer than any host operation takes. */
const DEFAULT_TIMEOUT = "35m";
const LEVELS = ["debug", "info", "warn", "error"];

export const call = defineCommand({
  meta: {
    name: "call",
    description: [
      "Ask the agent for something, from a script that it runs",
      "  holdfast call host OPERATION [--json ARGUMENTS]     a host operation; prints its result as JSON",
      "  holdfast call log LEVEL TEXT [--field NAME=VALUE]…  a line in the plugin's log",
      "Example: holdfast call host journal.read:nginx.service --json '{\"lines\": 20}'",
    ].join("\n\n"),
  },
  args: {
    verb: { type: "positional", required: false, description: "host or log" },
    json: { type: "string", description: "Arguments of the operation, as a JSON object" },
    field: { type: "string", description: "A field of the log line, NAME=VALUE; may be repeated" },
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
  if (verb === undefined) throw usage("which call? holdfast call host …, or holdfast call log …");
  const timeout = values.timeout ?? DEFAULT_TIMEOUT;
  if (!isDuration(timeout)) throw usage(`--timeout must be a duration, like 30s, not "${timeout}"`);
  const timeoutMs = parseDuration(timeout);
  if (verb === "log") return { verb, args: logArguments(words, values.field ?? []), timeoutMs, silent: true };
  const given = values.json === undefined ? {} : jsonObject(values.json);
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
  const pairs = fields.map((field): [string, string] => {
    const at = field.indexOf("=");
    if (at < 1) throw usage(`--field ${JSON.stringify(field)} is not NAME=VALUE`);
    return [field.slice(0, at), field.slice(at + 1)];
  });
  const args: JsonObject = { level, message: text.join(" ") };
  return pairs.length === 0 ? args : { ...args, fields: Object.fromEntries(pairs) };
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
