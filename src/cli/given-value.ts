import { HoldfastError } from "../core/errors.ts";
import type { Json } from "../model/json.ts";
import { namespaceProblem } from "../model/namespace.ts";

/** A word of the command line as a value: JSON where it is JSON, else a text. With `text` it is one in any case. */
export function givenValue(word: string, text: boolean): Json {
  if (text) return word;
  try {
    return JSON.parse(word) as Json;
  } catch {
    return word;
  }
}

export function givenNamespace(name: string): string {
  const problem = namespaceProblem(name);
  if (problem === null) return name;
  throw new HoldfastError("usage", `--namespace ${JSON.stringify(name.slice(0, 60))}: ${problem}`);
}
