import { readFileSync } from "node:fs";
import * as v from "valibot";
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument, stringify } from "yaml";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { LOG_LEVELS } from "../core/logger.ts";
import { nearest } from "../core/nearest.ts";
import { homeError } from "./home.ts";

const MAX_BYTES = 64 * 1024;
const address = v.pipe(
  v.string(),
  v.regex(/^(\[[0-9a-f:.]+\]|[\w.-]+):\d{1,5}$/i, "must be HOST:PORT, like 127.0.0.1:8442"),
);
const listen = (fallback: string) => v.optional(v.strictObject({ listen: address }), { listen: fallback });
/** Bytes a second of each agent's backlog at most. */
const rate = v.pipe(v.string(), v.regex(/^0*[1-9]\d*(KB|MB|GB)$/, "must be a size, like 256KB or 1MB"));
const SYNC = "0.0.0.0:8443";

/** A broker beside gRPC, for agents that cannot reach it: one in the hub, or one outside. */
const mqttEntries = {
  listen: v.optional(address),
  broker: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^mqtts?:\/\/(\[[0-9a-f:.]+\]|[\w.-]+)(:\d{1,5})?$/i, "must be mqtts://HOST:PORT"),
    ),
  ),
  ca: v.optional(v.string()),
  certificate: v.optional(v.string()),
  key: v.optional(v.string()),
};
const mqtt = v.pipe(
  v.strictObject(mqttEntries),
  v.check(
    (value) => (value.listen === undefined) !== (value.broker === undefined),
    "must have either listen (a broker in the hub) or broker (one outside)",
  ),
  v.check(
    ({ certificate, key }) => (certificate === undefined) === (key === undefined),
    "must have certificate and key together",
  ),
  v.check(
    ({ listen, ca, certificate }) => listen === undefined || (ca === undefined && certificate === undefined),
    "must have ca, certificate and key only for a broker outside: the one in the hub uses the hub's own",
  ),
);

/** A DNS name or an address, as it stands in a certificate. */
export const SERVER_NAME = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9a-fA-F:.]{2,45})$/;

const schema = v.strictObject({
  sync: v.optional(
    v.strictObject({
      listen: v.optional(address, SYNC),
      backlog: v.optional(v.strictObject({ rate })),
    }),
    { listen: SYNC },
  ),
  api: listen("127.0.0.1:8442"),
  health: listen("127.0.0.1:9111"),
  mqtt: v.optional(mqtt),
  names: v.pipe(
    v.array(v.pipe(v.string(), v.regex(SERVER_NAME, "must be a host name or an IP address"))),
    v.minLength(1, "must have at least one name"),
    v.maxLength(100, "must have at most 100 names"),
  ),
  log: v.optional(
    v.strictObject({
      level: v.optional(v.picklist(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(", ")}`), "info"),
    }),
    {},
  ),
});

/** `config/hub.yaml`. */
export type HubConfig = v.InferOutput<typeof schema>;

export function loadHubConfig(file: string): HubConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw homeError("read", file, error);
  }
  return parseHubConfig(text, file);
}

/** Throws one error that names every problem with file, line and column. */
export function parseHubConfig(text: string, file: string): HubConfig {
  if (text.length > MAX_BYTES) {
    throw new HoldfastError("invalid", `${file} has ${text.length} characters; ${MAX_BYTES} are allowed`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    throw problems(document.errors.map((error) => `${place(error.pos[0])}: ${error.message.split("\n")[0]}`));
  }
  if (document.contents !== null && !isMap(document.contents)) {
    throw problems([`${place(0)}: the file must be a map of settings`]);
  }
  const parsed = v.safeParse(schema, valueOf(document, place(0)));
  if (parsed.success) return parsed.output;
  const found = parsed.issues.map((issue) => {
    const path = (issue.path ?? []).map((part) => part.key as string | number);
    return { offset: offsetOf(document, path), text: describe(issue, path) };
  });
  found.sort((a, b) => a.offset - b.offset);
  throw problems(found.map(({ offset, text }) => `${place(offset)}: ${text}`));
}

/** Aliases may multiply a small file into a huge value: few are allowed. */
function valueOf(document: Document, place: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 10 }) ?? {};
  } catch (error) {
    throw problems([`${place}: ${messageOf(error)}`]);
  }
}

function describe(issue: v.BaseIssue<unknown>, path: (string | number)[]): string {
  const name = path.join(".");
  if (issue.expected === "never") {
    const near = nearest(String(path.at(-1)), knownNames(path.slice(0, -1)));
    return `unknown key ${name}${near === undefined ? "" : `; did you mean ${near}?`}`;
  }
  if (issue.received === "undefined") return `${name} is missing`;
  const expected = issue.message.startsWith("must") ? issue.message : `must be ${issue.expected}`;
  return `${name} ${expected}, not ${issue.received}`;
}

function knownNames(path: (string | number)[]): string[] {
  if (path.length === 0) return Object.keys(schema.entries);
  if (path[0] === "mqtt") return Object.keys(mqttEntries);
  return path[0] === "log" ? ["level"] : ["listen"];
}

/** Where a key stands, or the deepest part of its path that exists. */
function offsetOf(document: Document, path: (string | number)[]): number {
  let node = document.contents as Node | null;
  let offset = node?.range?.[0] ?? 0;
  for (const step of path) {
    if (!isMap(node)) {
      const item = (node as { items?: Node[] } | null)?.items?.[Number(step)];
      return item?.range?.[0] ?? offset;
    }
    const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
    if (!pair) return offset;
    offset = (pair.key as Node).range?.[0] ?? offset;
    node = pair.value as Node | null;
  }
  return offset;
}

function problems(list: string[]): HoldfastError {
  return new HoldfastError("invalid", `The hub's configuration is not valid:\n${list.join("\n")}`);
}

/** The file that `hub init` writes. */
export function renderHubConfig(config: Pick<HubConfig, "sync" | "api" | "health" | "names">): string {
  const comment =
    "# The hub's settings; flags of `holdfast hub run` go before them.\n" +
    "# names: what agents may call this hub; a change makes a new server certificate at the next start.\n";
  return comment + stringify({ ...config, log: { level: "info" } });
}
