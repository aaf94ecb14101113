import { formatDuration } from "../core/duration.ts";
import { formatSize } from "../core/size.ts";
import type { Resources } from "./permissions.ts";

/** One TCP or UDP destination of a grant. `host` is a name in lower case, `*.name`, an address without brackets, or `*`. */
export interface Endpoint {
  host: string;
  /** null is every port. */
  port: number | null;
}

/** What one worker gets: the plugin's wish, with its settings filled in, cut down by the policy. All paths are real and absolute. */
export interface Grant {
  sandbox: "on" | "off";
  read: string[];
  write: string[];
  exec: string[];
  connect: Endpoint[];
  udp: Endpoint[];
  listen: number[];
  icmp: boolean;
  unix: string[];
  env: string[];
  secrets: string[];
  /** Of them those that its environment may hold. */
  secretEnv: string[];
  memory: string[];
  namespaces: string[];
  /** `operation:object`, `*` allowed in the object. */
  host: string[];
  resources: Resources;
  /** What it asked for and did not get, in words. */
  narrowed: string[];
  /** Paths inside what it may read or write that it must not reach: they are covered in its own mount namespace. */
  hidden: string[];
}

/** A place that is to be written and is not there yet. Make it without following a link at its end (`wx`). */
export interface MissingPlace {
  path: string;
  kind: "file" | "folder";
}

export type GrantDecision =
  | {
      kind: "granted";
      grant: Grant;
      /** The policy wants all four levels enforced, or nothing runs. */
      strict: boolean;
      /** What the caller makes, empty, before the worker starts. */
      create: MissingPlace[];
      /** `grant.hidden` must be covered: without a mount namespace the worker may not start. */
      needsHiding: boolean;
    }
  | { kind: "refused"; reasons: string[] };

/** Nothing but computing, for a worker that only describes its plugin. */
export function bareGrant(resources: Resources): Grant {
  return {
    sandbox: "on",
    read: [],
    write: [],
    exec: [],
    connect: [],
    udp: [],
    listen: [],
    icmp: false,
    unix: [],
    env: [],
    secrets: [],
    secretEnv: [],
    memory: [],
    namespaces: [],
    host: [],
    resources,
    narrowed: [],
    hidden: [],
  };
}

/** A grant for people and programs: texts with units, and only what there is. */
export interface GrantSummary {
  sandbox: "on" | "off";
  /** By permission's name; what is not granted is absent. */
  permissions: Record<string, string[]>;
  resources: Record<string, string>;
  narrowed: string[];
  hidden: string[];
}

export function summaryOf(grant: Grant): GrantSummary {
  const lists: Record<string, string[]> = {
    read: grant.read,
    write: grant.write,
    exec: grant.exec,
    connect: grant.connect.map(formatEndpoint),
    listen: grant.listen.map(String),
    udp: grant.udp.map(formatEndpoint),
    icmp: grant.icmp ? ["allowed"] : [],
    unix: grant.unix,
    env: grant.env,
    secrets: grant.secrets,
    secretEnv: grant.secretEnv,
    memory: grant.memory,
    namespaces: grant.namespaces,
    host: grant.host,
  };
  return {
    sandbox: grant.sandbox,
    permissions: Object.fromEntries(Object.entries(lists).filter(([, items]) => items.length > 0)),
    resources: formatResources(grant.resources),
    narrowed: grant.narrowed,
    hidden: grant.hidden,
  };
}

/** `api.example.org:443`, `[::1]:*`, `*:443`. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port ?? "*"}`;
}

/** Each with its unit: `128MB`, `0.5 cores`, `30s`, `unlimited`. */
export function formatResources(resources: Resources): Record<keyof Resources, string> {
  const time = (ms: number | null) => (ms === null ? "unlimited" : formatDuration(ms));
  return {
    memory: formatSize(resources.memory),
    cpu: `${resources.cpu} ${resources.cpu === 1 ? "core" : "cores"}`,
    cpuTime: time(resources.cpuTime),
    wallTime: time(resources.wallTime),
    processes: String(resources.processes),
    openFiles: String(resources.openFiles),
    fileSize: formatSize(resources.fileSize),
    disk: formatSize(resources.disk),
    output: formatSize(resources.output),
  };
}
