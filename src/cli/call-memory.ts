import { parseDuration, isDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import type { JsonObject } from "../model/json.ts";
import { givenValue } from "./given-value.ts";

export const MEMORY_VERBS = ["get", "set", "delete", "list", "checkout", "update", "checkin"];

export interface MemoryFlags {
  namespace?: string | undefined;
  ttl?: string | undefined;
  wait?: string | undefined;
  text?: boolean | undefined;
}

/** `holdfast call memory …` as a request. What it asks for is checked by the agent. */
export function memoryArguments([op = "", ...words]: string[], flags: MemoryFlags): JsonObject {
  const space: JsonObject = flags.namespace === undefined ? {} : { namespace: flags.namespace };
  const [key = "", second = "", third = ""] = words;
  const most = { get: 1, delete: 1, list: 1, checkout: 1, set: 2, update: 3, checkin: 2 }[op];
  const least = op === "list" ? 0 : most;
  if (most === undefined) throw usage(`memory knows ${MEMORY_VERBS.join(", ")}`);
  if (words.length < least! || words.length > most) throw usage(FORMS[op]!);
  const ttl: JsonObject = flags.ttl === undefined ? {} : { ttlMs: milliseconds("ttl", flags.ttl) };
  const value = (word: string) => givenValue(word, flags.text ?? false);
  switch (op) {
    case "list":
      return { op, prefix: key, ...space };
    case "set":
      return { op, key, value: value(second), ...ttl, ...space };
    case "update":
      return { op, key, token: tokenOf(second), value: value(third), ...ttl, ...space };
    case "checkin":
      return { op, key, token: tokenOf(second), ...space };
    case "checkout":
      return {
        op,
        key,
        ...(flags.wait === undefined ? {} : { waitMs: milliseconds("wait", flags.wait) }),
        ...space,
      };
    default:
      return { op, key, ...space };
  }
}

const FORMS: Record<string, string> = {
  get: "memory get KEY",
  set: "memory set KEY VALUE [--ttl 1h]",
  delete: "memory delete KEY",
  list: "memory list [PREFIX]",
  checkout: "memory checkout KEY [--wait 30s]",
  update: "memory update KEY TOKEN VALUE [--ttl 1h]",
  checkin: "memory checkin KEY TOKEN",
};

function tokenOf(text: string): number {
  const token = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (token > 0) return token;
  throw usage(
    `the token is the number that memory checkout printed, not ${JSON.stringify(text.slice(0, 40))}`,
  );
}

function milliseconds(flag: string, text: string): number {
  if (isDuration(text)) return parseDuration(text);
  throw usage(`--${flag} must be a duration, like 30s, not "${text}"`);
}

function usage(message: string): HoldfastError {
  return new HoldfastError("usage", `holdfast call: ${message}`);
}
