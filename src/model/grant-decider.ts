import { resolve } from "node:path/posix";
import { type Endpoint, formatEndpoint, type MissingPlace } from "./grant.ts";
import { type ExpandContext, type Expanded, expandText, type RealPath } from "./grant-expand.ts";
import { meet, meetEndpoints, meetNames, meetOperations, parseEndpoint } from "./grant-limits.ts";
import { type GrantNotes, listText } from "./grant-notes.ts";
import {
  contains,
  coverPlaces,
  locate,
  type LocateContext,
  meetPaths,
  type PathPermission,
  type Places,
  type Wanted,
} from "./grant-places.ts";
import type { JsonObject } from "./json.ts";
import {
  isEndpoint,
  type PermissionName,
  type Permissions,
  type ResourcesInput,
  SYSTEM_PATHS,
} from "./permissions.ts";
import type { Policy } from "./policy.ts";
import { withDefaults } from "./references.ts";

export interface GrantRequest {
  /** The plugin's. */
  name: string;
  permissions: Permissions;
  resources: ResourcesInput;
  /** `with` of the trigger, step or output. What still holds `${{ … }}` counts as not set. */
  settings: JsonObject;
  /** The plugin's JSON Schema, for the defaults of settings that are not written. */
  settingsSchema?: JsonObject;
  policy: Policy;
  places: Places;
  realpath: RealPath;
  /** Whether this host can cover places inside a granted folder (mount namespaces); true when absent. */
  canHide?: boolean;
}

type Allowed = Partial<Permissions>;

/** Decides each permission of one request; what it cannot grant is noted. */
export class GrantDecider {
  readonly create: MissingPlace[] = [];
  readonly #request: GrantRequest;
  readonly #allowed: Allowed;
  readonly #notes: GrantNotes;
  readonly #context: ExpandContext;
  readonly #canHide: boolean;
  readonly #isOff: boolean;
  readonly #hidden = new Set<string>();

  constructor(request: GrantRequest, allowed: Allowed, isOff: boolean, notes: GrantNotes) {
    const { settings, settingsSchema, places, realpath } = request;
    this.#request = request;
    this.#allowed = allowed;
    this.#notes = notes;
    // Without a sandbox nothing is covered, and nothing needs to be.
    this.#canHide = isOff || request.canHide !== false;
    this.#isOff = isOff;
    let home: string | undefined;
    this.#context = {
      settings: settingsSchema === undefined ? settings : withDefaults(settingsSchema, settings),
      /** Looked up when something asks for it: most calls of actions need no path. */
      get home() {
        return (home ??= realpath(places.home)?.path ?? places.home);
      },
      realpath,
    };
  }

  paths(permission: PathPermission): string[] {
    if (this.#request.permissions[permission].length === 0) return [];
    const context = this.#locateContext(permission);
    /** Folders that are still to be made: what is asked for in them need not be there. */
    const made: string[] = [];
    const asked = this.#request.permissions[permission].flatMap((written) => {
      const isOptional = written.endsWith("?");
      const text = isOptional ? written.slice(0, -1) : written;
      return this.#expand(permission, text).flatMap((item): Wanted[] => {
        if (item.value === SYSTEM_PATHS && (permission === "read" || permission === "exec"))
          return [{ path: SYSTEM_PATHS, shown: SYSTEM_PATHS }];
        if (made.some((folder) => contains(folder, resolve(context.home, item.value)))) return [];
        const wanted = locate(permission, item, isOptional, context, this.#notes);
        if (wanted?.create === "folder") made.push(wanted.asked!);
        return wanted === null ? [] : [wanted];
      });
    });
    const allowed = this.#allowed[permission]?.map((text) => this.#allowedPath(text));
    const granted = this.#limit(
      permission,
      asked,
      allowed,
      meetPaths,
      ({ shown }) => shown,
      ({ path }) => path,
    ).filter((each) => asked.includes(each) || this.#isThere(each.path));
    for (const place of coverPlaces(permission, granted, context, this.#notes)) this.#hidden.add(place);
    // What lies in a granted folder is part of it. Granted by itself it would be a mount of its own, which cannot be removed.
    const needed = granted.filter(
      ({ path }) => !granted.some((other) => other.path !== path && contains(other.path, path)),
    );
    for (const { path, create } of needed) {
      const isKnown = this.create.some((each) => each.path === path);
      if (create !== undefined && !isKnown) this.create.push({ path, kind: create });
    }
    return unique(needed.map(({ path }) => path));
  }

  endpoints(permission: "connect" | "udp"): Endpoint[] {
    const asked = this.#texts(permission, isEndpoint, "it is not host:port").map(parseEndpoint);
    const allowed = this.#allowed[permission]?.map(parseEndpoint);
    const granted = this.#limit(permission, asked, allowed, meetEndpoints, formatEndpoint);
    return granted.filter((each, index) => granted.findIndex((other) => isSame(each, other)) === index);
  }

  ports(): number[] {
    const isPort = (text: string) => /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
    const asked = this.#texts("listen", isPort, "it is not a port from 1 to 65535");
    return unique(this.#limit("listen", asked, this.#allowed.listen, equal, String).map(Number));
  }

  icmp(): boolean {
    const asked = this.#request.permissions.icmp;
    if (!asked || this.#allowed.icmp !== false) return asked;
    this.#notes.exceed("icmp", "true", "none", "nothing");
    return false;
  }

  names(permission: "env" | "secrets" | "memory" | "namespaces"): string[] {
    const asked = this.#texts(permission, (text) => text !== "", "it is empty");
    const both = permission === "env" ? equal : meetNames;
    return unique(this.#limit(permission, asked, this.#allowed[permission], both, String));
  }

  /** Other processes of its user may read an environment: nothing of it but what the policy names. */
  secretEnv(): string[] {
    const asked = this.#texts("secretEnv", (text) => text !== "", "it is empty");
    const { environment } = this.#request.policy.secrets;
    const general = this.#limit("secretEnv", asked, environment, meetNames, String);
    return unique(this.#limit("secretEnv", general, this.#allowed.secretEnv, meetNames, String));
  }

  /** Of what any plugin may be granted, the part that the plugin's rule allows. */
  operations(): string[] {
    const asked = this.#texts("host", (text) => text !== "", "it is empty");
    const { operations } = this.#request.policy.host;
    const general = this.#limit("host", asked, operations, meetOperations, String);
    return unique(this.#limit("host", general, this.#allowed.host, meetOperations, String));
  }

  hidden(): string[] {
    return this.#isOff ? [] : [...this.#hidden].toSorted();
  }

  /** What of `asked` is allowed; the rest is noted. An absent list is no limit. */
  #limit<T>(
    permission: PermissionName,
    asked: T[],
    allowed: T[] | undefined,
    both: (asked: T, allowed: T) => T | null,
    shown: (item: T) => string,
    short: (item: T) => string = shown,
  ): T[] {
    if (allowed === undefined) return asked;
    return asked.flatMap((item) => {
      const common = meet(item, allowed, both);
      if (common[0] === item) return [item];
      this.#notes.exceed(permission, shown(item), listText(allowed.map(short)), listText(common.map(short)));
      return common;
    });
  }

  #texts(permission: PermissionName, isRight: (text: string) => boolean, why: string): string[] {
    const written = this.#request.permissions[permission] as string[];
    return written
      .flatMap((text) => this.#expand(permission, text))
      .flatMap(({ value, shown }) => {
        if (isRight(value)) return [value];
        this.#notes.refuse(permission, shown, why, "correct the setting");
        return [];
      });
  }

  #expand(permission: PermissionName, text: string): Expanded[] {
    return expandText(permission, text, this.#context, this.#notes);
  }

  #allowedPath(text: string): Wanted {
    const plain = text.endsWith("?") ? text.slice(0, -1) : text;
    if (plain === SYSTEM_PATHS) return { path: plain, shown: plain };
    const path = resolve(plain.replaceAll("${home}", this.#context.home));
    return { path: this.#request.realpath(path)?.path ?? path, shown: plain };
  }

  /** What a policy allows need not exist. */
  #isThere(path: string): boolean {
    return path === SYSTEM_PATHS || this.#request.realpath(path) !== null;
  }

  #locateContext(permission: PathPermission): LocateContext {
    const { places, realpath } = this.#request;
    const listed = [
      ...places.protectedRead,
      ...(permission === "write" ? places.protectedWrite : []),
      ...(permission === "unix" ? places.protectedUnix : []),
    ];
    const protectedPlaces = unique(listed.map((path) => realpath(path)?.path ?? resolve(path)));
    return { home: this.#context.home, protectedPlaces, realpath, canHide: this.#canHide };
  }
}

function equal<T>(asked: T, allowed: T): T | null {
  return asked === allowed ? asked : null;
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.host === b.host && a.port === b.port;
}

function unique<T>(items: T[]): T[] {
  return [...new Set(items)];
}
