import { HoldfastError, messageOf } from "../core/errors.ts";
import type { Json, JsonObject } from "../model/json.ts";
import { checkParameters, readArguments } from "../model/parameters.ts";
import type { ParameterDefinition } from "../model/pipeline.ts";

/** Asks a person for one line; null when there is no more input. */
export type Ask = (question: string) => Promise<string | null>;

export interface GivenArguments {
  /** What does not happen when something is wrong: `pipeline clean was not started`. */
  what: string;
  definitions: ParameterDefinition[];
  /** `name=value`, as on the command line. */
  words: string[];
  /** Values that were there before: of a file, of a dead letter. */
  base?: JsonObject;
  /** Where a person can be asked for what is missing. */
  ask?: Ask;
}

const TRIES = 2;

/**
 * The parameters of a run, as declared: words converted, missing ones asked for, all of them checked. Throws `usage` with every
 * problem; nothing was started then.
 */
export async function completeArguments(given: GivenArguments): Promise<JsonObject> {
  const { definitions, words, base = {}, ask } = given;
  const read = readArguments(words, definitions);
  if ("problems" in read) throw refused(given, read.problems);
  const params: JsonObject = { ...base, ...read.params };
  if (ask) {
    const missing = definitions.filter((each) => each.required && params[each.name] === undefined);
    // What is wrong already is told before anybody answers questions.
    const rest = definitions.filter((each) => !missing.includes(each));
    if (missing.length < definitions.length) check(given, rest, params);
    for (const each of missing) params[each.name] = await askFor(each, ask);
  }
  check(given, definitions, params);
  return params;
}

function check(given: GivenArguments, definitions: ParameterDefinition[], params: JsonObject): void {
  const checked = checkParameters(definitions, params);
  if ("problems" in checked) throw refused(given, checked.problems);
}

function refused({ what }: GivenArguments, problems: string[]): HoldfastError {
  const text = problems.length === 1 ? problems[0]! : problems.map((problem) => `\n  ${problem}`).join("");
  return new HoldfastError("usage", `${what}: ${text}`);
}

/** Two tries, as at a door: after that somebody should read the documentation. */
async function askFor(definition: ParameterDefinition, ask: Ask): Promise<Json> {
  const { name, description, choices } = definition;
  const facts = [description, choices === null ? "" : `one of ${choices.join(", ")}`].filter(Boolean);
  const about = facts.length === 0 ? "" : ` (${facts.join("; ")})`;
  let problem = "";
  for (let tries = 0; tries < TRIES; tries++) {
    const text = await ask(
      `${problem === "" ? "" : `${problem}\n`}What is the value for '${name}'${about}? `,
    );
    if (text === null) break;
    const read =
      text === "" ? { problems: ["a value is needed"] } : readArguments([`${name}=${text}`], [definition]);
    const checked = "problems" in read ? read : checkParameters([definition], read.params);
    if (!("problems" in checked)) return checked.params[name]!;
    problem = checked.problems.join("; ");
  }
  throw new HoldfastError("usage", `${problem || `no value for '${name}'`} (giving up)`);
}

/** Asks on the terminal; undefined where there is none, and nobody could answer. */
export async function terminalAsk(): Promise<{ ask: Ask; close: () => void } | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  const { createInterface } = await import("node:readline/promises");
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new Promise<null>((resolve) => lines.once("close", () => resolve(null)));
  return {
    ask: (question) => Promise.race([lines.question(question), ended]),
    close: () => lines.close(),
  };
}

/** A file of parameters, YAML or JSON; `-` is stdin. */
export async function readInput(path: string): Promise<JsonObject> {
  const what = path === "-" ? "stdin" : path;
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(await (path === "-" ? Bun.stdin : Bun.file(path)).text());
  } catch (error) {
    throw new HoldfastError("usage", `cannot read parameters from ${what}: ${messageOf(error)}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new HoldfastError("usage", `${what} must hold an object of parameters, like {"name": "value"}`);
}

/** Every value of a flag that may be given several times, of which the parser keeps only the last. */
export function repeated(rawArgs: string[], flag: string): string[] {
  const values: string[] = [];
  for (const [index, word] of rawArgs.entries()) {
    if (word === `--${flag}` && rawArgs[index + 1] !== undefined) values.push(rawArgs[index + 1]!);
    else if (word.startsWith(`--${flag}=`)) values.push(word.slice(flag.length + 3));
  }
  return values;
}
