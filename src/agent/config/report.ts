import { isSecretName, maskText } from "../../core/mask.ts";
import { nearest } from "../../core/nearest.ts";
import type { ConfigProblem } from "../../model/config-problem.ts";
import { type ConfigNode, formatPath, keyOrigin, nodeAt, type Path, valueOrigin } from "./node.ts";

type Details = Pick<ConfigProblem, "expected" | "actual" | "suggestion">;

const MAX_SHOWN = 80;
const MAX_SUGGESTIONS = 200;

/** Gathers problems of one document and finds the place of each. */
export class Report {
  readonly problems: ConfigProblem[] = [];
  readonly #root: ConfigNode;

  constructor(root: ConfigNode) {
    this.#root = root;
  }

  /** A problem of the value at `path`. */
  value(path: Path, message: string, details: Details = {}): void {
    const { file, line, column, source } = valueOrigin(this.#root, path);
    this.#add(file, line, column, source, path, message, details);
  }

  /** A problem of the key at the end of `path`. */
  key(path: Path, message: string, details: Details = {}): void {
    const { file, line, column, source } = keyOrigin(this.#root, path);
    this.#add(file, line, column, source, path, message, details);
  }

  /** The nearest of the names; not sought any more when there are more problems than anybody reads. */
  suggest(word: string, names: Iterable<string>): { suggestion?: string } {
    const suggestion = this.problems.length < MAX_SUGGESTIONS ? nearest(word, names) : undefined;
    return suggestion === undefined || suggestion === word ? {} : { suggestion };
  }

  /** True when what stands at `path` must not be shown. */
  hides(path: Path): boolean {
    const node = nodeAt(this.#root, path);
    return path.some((part) => isSecretName(String(part))) || (node?.kind === "scalar" && !!node.secret);
  }

  /** What is written at `path`, short, without secrets and without what a variable held. */
  actual(path: Path): string {
    const node = nodeAt(this.#root, path);
    if (node === undefined) return "nothing";
    if (node.kind === "map") return node.entries.size === 0 ? "an empty map" : "a map";
    if (node.kind === "list") return node.items.length === 0 ? "an empty list" : "a list";
    if (node.value === null) return "nothing";
    if (this.hides(path)) return "***";
    return shorten(JSON.stringify(node.written ?? node.value));
  }

  #add(
    file: string,
    line: number,
    column: number,
    source: string,
    path: Path,
    message: string,
    details: Details,
  ): void {
    // Variables and flags have no line: their name is their place.
    const text = line > 0 || source === file ? message : `${message} (${source})`;
    const problem: ConfigProblem = { file, line, column, path: formatPath(path), message: text };
    for (const key of ["expected", "actual", "suggestion"] as const) {
      if (details[key] !== undefined) problem[key] = details[key];
    }
    this.problems.push(problem);
  }
}

export function shorten(text: string): string {
  const masked = maskText(text);
  return masked.length > MAX_SHOWN ? `${masked.slice(0, MAX_SHOWN)}…` : masked;
}
