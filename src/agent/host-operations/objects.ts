import { HoldfastError } from "../../core/errors.ts";

/** What may stand behind the colon of `operation:object`. */
export interface ObjectRule {
  /** For messages: `a systemd unit`. */
  what: string;
  /** `optional`: without it the operation is about the whole host. */
  need: "required" | "optional" | "none";
  /** The object as it goes into an argument list, or null when it is not one. */
  read(text: string): string | null;
}

const UNIT_SUFFIXES = [
  "service",
  "socket",
  "target",
  "timer",
  "mount",
  "automount",
  "swap",
  "path",
  "slice",
  "scope",
  "device",
];
const UNIT = /^[a-zA-Z0-9:_.@\\][a-zA-Z0-9:_.@\\-]{0,255}$/;
/** Longest unit name that systemd takes. */
const MAX_UNIT = 255;

/**
 * A unit's full name; `nginx` is `nginx.service`. A name cannot begin with `-` (it would look like an option) and holds no
 * `*`, `?` and `[`, which systemctl and journalctl take for patterns.
 */
export function readUnit(text: string): string | null {
  if (!UNIT.test(text)) return null;
  const suffix = text.slice(text.lastIndexOf(".") + 1);
  const known = text.includes(".") && UNIT_SUFFIXES.includes(suffix);
  const unit = known ? text : `${text}.service`;
  return unit.length <= MAX_UNIT && unit !== `.${suffix}` ? unit : null;
}

/** apt-get takes `name-` for "remove it": a package's name may not end so. No `/`, so that it never is a file. */
export function readPackage(text: string): string | null {
  return /^[a-zA-Z0-9][a-zA-Z0-9+._-]{0,127}$/.test(text) && !text.endsWith("-") ? text : null;
}

export function readProcessName(text: string): string | null {
  return /^[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,63}$/.test(text) ? text : null;
}

export function readContainer(text: string): string | null {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(text) ? text : null;
}

/** The object of `operation`, checked. Throws `invalid` with what it should be. */
export function readObject(rule: ObjectRule, operation: string, text: string | null): string | null {
  if (text === null) {
    if (rule.need !== "required") return null;
    throw new HoldfastError("invalid", `${operation} needs ${rule.what}: ${operation}:NAME`);
  }
  if (rule.need === "none") {
    throw new HoldfastError("invalid", `${operation} takes no object, but was given ${shown(text)}`);
  }
  const object = rule.read(text);
  if (object !== null) return object;
  throw new HoldfastError("invalid", `${operation}: ${shown(text)} is not the name of ${rule.what}`);
}

/** A hostile text for a message: quoted, without control characters, short. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
