import { cutText } from "../../core/cut-text.ts";
import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { parseMemoryRequest } from "../../model/memory-request.ts";
import { parsePartial } from "../../model/output-batch.ts";
import { permissionsSchema, resourcesSchema } from "../../model/permissions.ts";
import { EFFECTS } from "../../model/pipeline.ts";
import { parseAdditions } from "./additions.ts";
import type { HandedSocket, UpFrame } from "./frames.ts";
import { proposedEventProblem } from "./proposed-event.ts";

/** Longest message of an error or log frame that is kept, in characters. */
export const MAX_MESSAGE = 4096;
/** Longer than any operation with its object. */
const MAX_OPERATION = 300;
/** Sockets that a launcher may hand over. */
const MAX_HANDED = 512;

const manifestSchema = v.object({
  name: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)),
  kind: v.picklist(["trigger", "action", "output"]),
  description: v.pipe(v.string(), v.maxLength(1024)),
  settings: v.record(v.string(), v.any()),
  permissions: v.optional(permissionsSchema, {}),
  resources: v.optional(resourcesSchema, {}),
  effect: v.optional(v.picklist(EFFECTS)),
});

type Fields = Record<string, unknown>;

/**
 * From a worker's bytes to a frame. Written by hand because events come through here by the hundred thousand a second.
 * Throws `invalid` with what is wrong; the caller then gives the worker up.
 */
export function parseUpFrame(value: unknown): UpFrame {
  const frame = fields(value, "a frame");
  switch (frame.kind) {
    case "emit":
      return checkEmit(frame);
    case "result":
      number(frame, "id");
      if (frame.output === undefined) frame.output = null;
      return frame as UpFrame;
    case "error":
      return {
        kind: "error",
        id: number(frame, "id"),
        error: stepError(frame.error),
        ...(frame.partial === undefined ? {} : { partial: partial(frame.partial) }),
      };
    case "log":
      return {
        kind: "log",
        level: level(frame.level),
        message: text(frame, "message"),
        ...(frame.fields === undefined ? {} : { fields: fields(frame.fields, "log fields") as JsonObject }),
        ...(frame.call === undefined ? {} : { call: number(frame, "call") }),
      };
    case "host":
      return {
        kind: "host",
        id: number(frame, "id"),
        operation: text(frame, "operation").slice(0, MAX_OPERATION),
        arguments: frame.arguments === undefined ? {} : (fields(frame.arguments, "arguments") as JsonObject),
      };
    case "add":
      return {
        kind: "add",
        id: number(frame, "id"),
        call: number(frame, "call"),
        additions: parseAdditions(frame.additions),
      };
    case "memory":
      return {
        kind: "memory",
        id: number(frame, "id"),
        call: frame.call === null ? null : number(frame, "call"),
        request: parseMemoryRequest(frame.request),
      };
    case "sockets":
      return { kind: "sockets", tcp: handed(frame.tcp), udp: handed(frame.udp) };
    case "ready":
      return { kind: "ready", manifest: manifest(frame.manifest) };
    case "failed":
      return {
        kind: "failed",
        message: text(frame, "message"),
        ...(frame.tooManyFiles === true ? { tooManyFiles: true } : {}),
      };
    case "pong":
      return { kind: "pong", id: number(frame, "id") };
    case "started":
    case "drained":
      return { kind: frame.kind };
    default:
      throw invalid(`a frame of unknown kind ${JSON.stringify(String(frame.kind).slice(0, 40))}`);
  }
}

function checkEmit(frame: Fields): UpFrame {
  number(frame, "seq");
  if (!Array.isArray(frame.events)) throw invalid("an emit without a list of events");
  for (const event of frame.events) {
    const problem = proposedEventProblem(event);
    if (problem !== null) throw invalid(`an invalid event: ${problem}`);
  }
  return frame as UpFrame;
}

function handed(value: unknown): HandedSocket[] {
  if (!Array.isArray(value) || value.length > MAX_HANDED) throw invalid("a list of sockets that is none");
  return value.map((each) => {
    const socket = fields(each, "a socket");
    return { port: number(socket, "port"), fd: number(socket, "fd") };
  });
}

function manifest(value: unknown) {
  const parsed = v.safeParse(manifestSchema, value);
  if (parsed.success) return parsed.output as Extract<UpFrame, { kind: "ready" }>["manifest"];
  throw invalid(`an invalid manifest: ${v.getDotPath(parsed.issues[0]) ?? ""} ${parsed.issues[0].message}`);
}

function stepError(value: unknown) {
  const error = fields(value, "an error");
  if (typeof error.retryable !== "boolean" || typeof error.started !== "boolean") {
    throw invalid("an error without `retryable` and `started`");
  }
  return {
    message: text(error, "message"),
    code: text(error, "code").slice(0, 64),
    retryable: error.retryable,
    started: error.started,
  };
}

function partial(value: unknown) {
  const parsed = parsePartial(value as Json);
  if (parsed) return parsed;
  throw invalid("a batch taken in part without `taken` and `rejected`");
}

function level(value: unknown) {
  if (value === "debug" || value === "info" || value === "warn" || value === "error") return value;
  throw invalid("a log frame without a level");
}

function fields(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalid(`${what} that is not an object`);
}

function text(frame: Fields, key: string): string {
  const value = frame[key];
  if (typeof value === "string") return cutText(value, MAX_MESSAGE);
  throw invalid(`a frame without a text \`${key}\``);
}

function number(frame: Fields, key: string): number {
  const value = frame[key];
  if (Number.isSafeInteger(value)) return value as number;
  throw invalid(`a frame without a whole number \`${key}\``);
}

function invalid(message: string): HoldfastError {
  return new HoldfastError("invalid", message);
}
