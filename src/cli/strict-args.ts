import type { ArgsDef } from "citty";
import { HoldfastError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";

/**
 * citty takes unknown flags, spare words and flags without their value in silence; a mistyped filter would then be no
 * filter at all. Throws `usage` for each of these.
 */
export function checkArguments(definition: ArgsDef, parsed: Record<string, unknown> & { _: string[] }): void {
  const names = Object.keys(definition);
  const known = new Set(names.flatMap((name) => [name, camel(name)]));
  for (const [name, value] of Object.entries(parsed)) {
    if (name === "_") continue;
    if (!known.has(name)) throw unknownFlag(name, names);
    const type = definition[name]?.type ?? "string";
    if ((type === "string" || type === "enum") && value === "") {
      throw new HoldfastError("usage", `--${name} needs a value: --${name} VALUE`);
    }
  }
  const places = names.filter((name) => definition[name]?.type === "positional");
  const spare = parsed._.slice(places.length);
  if (spare.length > 0) {
    throw new HoldfastError("usage", `"${spare.join(" ")}" is more than this command takes: see its --help`);
  }
}

/** A whole number within bounds. */
export function wholeNumber(
  flag: string,
  text: string | undefined,
  least: number,
  most: number,
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new HoldfastError(
    "usage",
    `--${flag} must be a whole number from ${least} to ${most}, not "${text}"`,
  );
}

/** One of a few words. */
export function oneOf<T extends string>(
  flag: string,
  text: string | undefined,
  words: readonly T[],
): T | undefined {
  if (text === undefined || words.includes(text as T)) return text as T | undefined;
  const meant = nearest(text, words);
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  throw new HoldfastError("usage", `--${flag} must be one of ${words.join(", ")}, not "${text}"${hint}`);
}

function unknownFlag(name: string, names: string[]): HoldfastError {
  const meant = nearest(name, names);
  const hint = meant === undefined ? "see its --help" : `did you mean --${meant}?`;
  return new HoldfastError("usage", `this command has no ${name.length === 1 ? "-" : "--"}${name}: ${hint}`);
}

function camel(name: string): string {
  return name.replace(/-([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
