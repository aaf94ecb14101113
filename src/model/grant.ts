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

export type GrantDecision = { kind: "granted"; grant: Grant } | { kind: "refused"; reasons: string[] };

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
    memory: [],
    namespaces: [],
    host: [],
    resources,
    narrowed: [],
    hidden: [],
  };
}
