import { HoldfastError } from "../core/errors.ts";
import type { Json, JsonObject } from "../model/json.ts";
import { SEVERITIES } from "../model/event.ts";
import { readArguments } from "../model/parameters.ts";
import { agentCommand } from "./agent-command.ts";

export const emit = agentCommand({
  name: "emit",
  description: "Record an event on this host's agent; rules see it as of the trigger `manual`",
  example: "holdfast events emit deploy.done --subject front version=7",
  args: {
    type: {
      type: "positional",
      required: true,
      description: "Type of the event, then its data: name=value …",
    },
    subject: { type: "string", valueHint: "TEXT", description: "What it is about" },
    severity: { type: "string", valueHint: "NAME", description: `One of ${SEVERITIES.join(", ")}` },
    data: { type: "string", valueHint: "JSON", description: "Data as JSON, in place of name=value" },
    "event-id": {
      type: "string",
      valueHint: "ID",
      description: "The same id again is the same event, and is not kept twice",
    },
  },
  rest: true,
  async run({ client, out, json }, args) {
    const words = args._.slice(1);
    if (args.severity !== undefined && !(SEVERITIES as readonly string[]).includes(args.severity)) {
      throw new HoldfastError(
        "usage",
        `--severity must be one of ${SEVERITIES.join(", ")}, not "${args.severity}"`,
      );
    }
    const answer = await client.emit({
      type: args.type,
      subject: args.subject,
      severity: args.severity,
      id: args["event-id"],
      data: eventData(args.data, words),
    });
    if (json) return out.line(JSON.stringify(answer));
    await out.line(
      answer.duplicate
        ? `Event ${answer.id} was there already.`
        : `Event ${answer.id} of ${answer.source} is kept.`,
    );
  },
});

function eventData(text: string | undefined, words: string[]): Json | undefined {
  if (text !== undefined && words.length > 0) {
    throw new HoldfastError("usage", "--data and name=value both give the data: use one of them");
  }
  if (text !== undefined) {
    try {
      return JSON.parse(text) as Json;
    } catch {
      throw new HoldfastError("usage", `--data: ${text} is no JSON: write it like '{"version": 7}'`);
    }
  }
  if (words.length === 0) return undefined;
  const read = readArguments(words, []);
  if ("problems" in read) throw new HoldfastError("usage", read.problems.join("; "));
  return read.params as JsonObject;
}
