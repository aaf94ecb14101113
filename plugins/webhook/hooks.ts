import type { Json, ProposedEvent } from "../../src/sdk/holdfast.ts";
import type { Re2Match } from "../../src/sdk/re2.ts";
import { Refusal } from "./problem.ts";

const MAX_DEPTH = 100;

export interface HookSettings {
  path: string;
  type: string;
  pattern?: string | undefined;
  field?: string | undefined;
}

export interface Hook {
  path: string;
  /** Null for a call that does not match the pattern. */
  event(call: { body: string; json: boolean; query: URLSearchParams }): ProposedEvent | null;
}

export async function openHooks(settings: HookSettings[]): Promise<Map<string, Hook>> {
  const hooks = new Map<string, Hook>();
  for (const hook of settings) {
    hooks.set(hook.path, { path: hook.path, event: await makerOf(hook) });
  }
  return hooks;
}

async function makerOf({ path, type, pattern, field }: HookSettings): Promise<Hook["event"]> {
  const find = pattern === undefined ? null : await compile(pattern);
  return ({ body, json, query }) => {
    const value = json ? parsed(body) : body;
    let match: Re2Match | null = null;
    if (find !== null) {
      const text = field === undefined ? body : textAt(value, field);
      match = text === null ? null : find(text);
      if (match === null) return null;
    }
    const data: Record<string, Json> = { path, body: value, query: Object.fromEntries(query) };
    if (match !== null) Object.assign(data, match);
    return { type, subject: path, data };
  };
}

async function compile(pattern: string): Promise<(text: string) => Re2Match | null> {
  const { re2 } = await import("../../src/sdk/re2.ts");
  return re2(pattern);
}

/** A body that says that it is JSON and is not is text. One that is nested deeply would fail whoever walks it. */
function parsed(body: string): Json {
  let value: Json;
  try {
    value = JSON.parse(body) as Json;
  } catch {
    return body;
  }
  if (!isDeeper(value, MAX_DEPTH)) return value;
  throw new Refusal(400, `the body is nested deeper than ${MAX_DEPTH} levels`);
}

function isDeeper(value: Json, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/** The text at `a.b.0`, or null. */
function textAt(value: Json, field: string): string | null {
  let here: Json | undefined = value;
  for (const key of field.split(".")) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, key)) return null;
    here = (here as Record<string, Json>)[key];
  }
  return typeof here === "string"
    ? here
    : typeof here === "number" || typeof here === "boolean"
      ? String(here)
      : null;
}
