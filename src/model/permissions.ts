import * as v from "valibot";
import { isDuration } from "../core/duration.ts";
import { isSize, parseSize } from "../core/size.ts";
import { parseTemplate } from "./references.ts";

const MAX_ITEMS = 200;
const MAX_TEXT = 4096;

/** References are checked for their form here, and what they stand for when they are filled in. */
const item = (what: string, check: (text: string) => boolean, checkTemplate = isTemplate) =>
  v.pipe(
    v.string(),
    v.maxLength(MAX_TEXT),
    v.check(
      (text) => !text.includes("\0") && (text.includes("${") ? checkTemplate(text) : check(text)),
      what,
    ),
  );

function isTemplate(text: string): boolean {
  return parseTemplate(text) !== null;
}

/** What is written around the references must be a plain path as well. */
function isPathTemplate(text: string): boolean {
  const pieces = parseTemplate(text);
  if (pieces === null) return false;
  const [first] = pieces;
  const plain = pieces.map((piece) => (typeof piece === "string" ? piece : "x")).join("");
  return isPlainPath(typeof first === "string" ? plain : `/${plain}`);
}
const list = (schema: v.GenericSchema<any, string>) => v.pipe(v.array(schema), v.maxLength(MAX_ITEMS));

/** `@system`: the host's programs and libraries, and the public files in /etc that they need. */
export const SYSTEM_PATHS = "@system";

/** An absolute path without `.` or `..`; a final `?` says that it may be absent. */
export function isPlainPath(text: string): boolean {
  const path = text.endsWith("?") ? text.slice(0, -1) : text;
  return path.startsWith("/") && !path.split("/").some((part) => part === "." || part === "..");
}

/** `host:port`: a name, `*.name`, an address (IPv6 in brackets) or `*`; a port from 1 to 65535, or `*`. A lone `*` is `*:*`. */
export function isEndpoint(text: string): boolean {
  if (text === "*") return true;
  const match = /^(\[[0-9a-fA-F:.]+\]|\*|(?:\*\.)?[a-zA-Z0-9_](?:[a-zA-Z0-9._-]{0,252})):(\*|\d{1,5})$/.exec(
    text,
  );
  if (!match) return false;
  return match[2] === "*" || isPort(match[2]!);
}

function isPort(text: string): boolean {
  const port = Number(text);
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

const path = item(
  "an absolute path without `.` or `..` (or @system, or ${settings.x})",
  (text) => text === SYSTEM_PATHS || isPlainPath(text),
  isPathTemplate,
);
/** The host's own programs cannot be written, and are no sockets. */
const ownPath = item("an absolute path without `.` or `..` (or ${settings.x})", isPlainPath, isPathTemplate);
const endpoint = item("host:port, like api.example.org:443, *.example.org:443 or *:443", isEndpoint);
/** Written as a number or as text. */
const port = v.pipe(
  v.union([v.string(), v.pipe(v.number(), v.transform(String))]),
  item("a port from 1 to 65535", isPort),
);
const variable = item("a variable's name: letters, digits, _", (text) => /^[A-Za-z_]\w{0,127}$/.test(text));
const name = item("a name, or a pattern with *", (text) => /^[\w.*:/-]{1,128}$/.test(text));
/** `systemd.restart:nginx.service`, `journal.read`, `signal:nginx`. */
export const operationSchema = item(
  "operation or operation:object, like systemd.restart:nginx.service",
  (text) => /^[a-z]+(?:\.[a-z]+)?(?::[\w@.\-*\\:]{1,256})?$/.test(text),
);

/**
 * What a plugin asks for beyond computing. Texts may hold `${settings.x}` (a list there stands for several items; one
 * that is not set, for none), `${folder(settings.x)}`, `${endpoint(settings.url)}`, `${program(settings.x)}` and
 * `${home}`; see references.ts.
 */
export const permissionsSchema = v.strictObject({
  read: v.optional(list(path), []),
  write: v.optional(list(ownPath), []),
  /** TCP, by name, through the agent. */
  connect: v.optional(list(endpoint), []),
  /** TCP ports to listen on. */
  listen: v.optional(list(port), []),
  udp: v.optional(list(endpoint), []),
  icmp: v.optional(v.boolean(), false),
  /** Paths of unix sockets, connected by the agent and relayed. */
  unix: v.optional(list(ownPath), []),
  /** Programs, or folders of programs. Without any, no process can be started. */
  exec: v.optional(list(path), []),
  /** Variables of the agent's environment that are handed on. */
  env: v.optional(list(variable), []),
  secrets: v.optional(list(name), []),
  /** Of those that it may have: secrets that its environment may hold (scripts). The policy must name them as well. */
  secretEnv: v.optional(list(name), []),
  memory: v.optional(list(name), []),
  namespaces: v.optional(list(name), []),
  host: v.optional(list(operationSchema), []),
});

/** Every list filled in. */
export type Permissions = v.InferOutput<typeof permissionsSchema>;
/** As a manifest writes it. */
export type PermissionsInput = v.InferInput<typeof permissionsSchema>;
export type PermissionName = keyof Permissions;

/** Nothing but computing. */
export const NO_PERMISSIONS: Permissions = v.parse(permissionsSchema, {});

const bytes = (least: number, what: string) =>
  v.pipe(
    v.string(),
    v.check(isSize, "a size: a number and a unit, like 64MB"),
    v.check((text) => !isSize(text) || parseSize(text) >= least, what),
  );
const span = v.pipe(v.string(), v.check(isDuration, "a duration: a number and a unit, like 250ms, 30s, 5m"));
const count = (least: number, most: number) =>
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(least, `at least ${least}`),
    v.maxValue(most, `at most ${most}`),
  );

/** As manifests and policies write it; what is absent is the default. */
export const resourcesSchema = v.strictObject({
  memory: v.optional(bytes(1024 ** 2, "at least 1MB")),
  /** Cores: 0.5 is half of one. */
  cpu: v.optional(v.pipe(v.number(), v.minValue(0.05, "at least 0.05"), v.maxValue(1024, "at most 1024"))),
  /** Processor time of one process of the worker in all; unlimited when absent. */
  cpuTime: v.optional(span),
  /** One call of an action; the step's own timeout counts too. */
  wallTime: v.optional(span),
  processes: v.optional(count(1, 100_000)),
  openFiles: v.optional(count(16, 1_048_576)),
  /** Largest single file. */
  fileSize: v.optional(bytes(4096, "at least 4KB")),
  /** Its own folder as a whole. */
  disk: v.optional(bytes(64 * 1024, "at least 64KB")),
  /** Bytes of stdout and stderr: of one call for a script, of one minute for a running plugin. */
  output: v.optional(bytes(1024, "at least 1KB")),
});
export type ResourcesInput = v.InferOutput<typeof resourcesSchema>;

/** Bytes, milliseconds, cores and counts; null is unlimited. */
export interface Resources {
  memory: number;
  cpu: number;
  cpuTime: number | null;
  wallTime: number | null;
  processes: number;
  openFiles: number;
  fileSize: number;
  disk: number;
  output: number;
}

const MB = 1024 ** 2;
export const DEFAULT_RESOURCES: Resources = {
  memory: 128 * MB,
  cpu: 0.5,
  cpuTime: null,
  wallTime: null,
  processes: 32,
  openFiles: 256,
  fileSize: 128 * MB,
  disk: 256 * MB,
  output: 16 * MB,
};
