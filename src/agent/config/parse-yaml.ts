import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLError,
  type YAMLMap,
} from "yaml";
import type { ConfigProblem } from "../../model/config-problem.ts";
import { type ConfigNode, emptyMap, formatPath, type Origin, type Path } from "./node.ts";

/** Nodes that aliases may add in all: a few shared blocks are fine, a "billion laughs" is not. */
const MAX_ALIAS_NODES = 10_000;
const MAX_DEPTH = 50;
const MAX_SYNTAX_PROBLEMS = 10;

export interface ParsedYaml {
  /** Null when the text has syntax problems. */
  root: ConfigNode | null;
  problems: ConfigProblem[];
}

/** One YAML 1.2 document (core schema) as nodes that know their places. `label` is the file's name in sources. */
export function parseYaml(text: string, file: string, label = file): ParsedYaml {
  const lines = new LineCounter();
  const originAt = (offset: number): Origin => {
    const { line, col } = lines.linePos(offset);
    return {
      file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      source: `${label}:${Math.max(1, line)}`,
    };
  };
  // Duplicate keys are found below in linear time: the parser's own check is quadratic.
  const document = parse(text, lines);
  return convert(document, text, originAt);
}

/** One value of an environment variable or a flag, in YAML's flow style; its nodes have the given origin. */
export function parseYamlValue(text: string, origin: Origin): ParsedYaml {
  return convert(parse(text, new LineCounter()), text, () => origin);
}

function parse(text: string, lineCounter: LineCounter): Document.Parsed {
  return parseDocument(text, {
    lineCounter,
    version: "1.2",
    schema: "core",
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: "error",
  });
}

function convert(document: Document.Parsed, text: string, originAt: (offset: number) => Origin): ParsedYaml {
  const syntax = syntaxProblems([...document.errors, ...document.warnings], text, originAt);
  if (syntax.length > 0) return { root: null, problems: syntax };
  const converter = new Converter(document, originAt);
  const root = document.contents === null ? emptyMap(originAt(0)) : converter.node(document.contents, [], 0);
  if (converter.problems.length > 0) return { root: null, problems: converter.problems };
  const empty = root.kind === "scalar" && root.value === null;
  return { root: empty ? emptyMap(root.origin) : root, problems: [] };
}

/** The parser goes on after a mistake and complains about what follows from it: the first on a line is the one. */
function syntaxProblems(
  errors: YAMLError[],
  text: string,
  originAt: (offset: number) => Origin,
): ConfigProblem[] {
  const tabs = errors.filter((error) => error.code === "TAB_AS_INDENT");
  const causes = errors.filter((error, index) => index === 0 || !error.message.includes("in YAML stream"));
  const lines = new Set<number>();
  return (tabs.length > 0 ? tabs : causes)
    .map((error) => problemAt(originAt(error.pos[0]), [], syntaxMessage(error, text)))
    .filter(({ line }) => !lines.has(line) && lines.add(line))
    .slice(0, MAX_SYNTAX_PROBLEMS);
}

function syntaxMessage(error: YAMLError, text: string): string {
  if (text.startsWith("${", error.pos[0] - 1))
    return 'inside of { } and [ ] a variable needs quotes: "${NAME}"';
  if (error.message.startsWith("Maximum call stack")) return `nested more than ${MAX_DEPTH} levels deep`;
  switch (error.code) {
    case "TAB_AS_INDENT":
      return "a tab in the indentation: YAML wants spaces";
    case "MULTIPLE_DOCS":
      return "a second document begins here (---): a configuration file holds one";
    case "BLOCK_AS_IMPLICIT_KEY":
      return `${error.message}; quote a value that holds ": "`;
    case "TAG_RESOLVE_FAILED":
      return `${error.message}: tags are not used in a configuration`;
    default:
      return `not valid YAML: ${error.message}`;
  }
}

class Converter {
  readonly problems: ConfigProblem[] = [];
  readonly #document: Document.Parsed;
  readonly #originAt: (offset: number) => Origin;
  #aliasNodes = 0;
  /** Anchored nodes that are being converted: an alias to one of them would never end. */
  readonly #open = new Set<Node>();

  constructor(document: Document.Parsed, originAt: (offset: number) => Origin) {
    this.#document = document;
    this.#originAt = originAt;
  }

  node(node: Node, path: Path, depth: number, inAlias = false): ConfigNode {
    const origin = this.#originAt(node.range?.[0] ?? 0);
    const nothing: ConfigNode = { kind: "scalar", origin, value: null };
    if (inAlias && ++this.#aliasNodes > MAX_ALIAS_NODES) {
      if (this.#aliasNodes === MAX_ALIAS_NODES + 1)
        this.#problem(
          origin,
          path,
          `aliases (*name) blow the document up to more than ${MAX_ALIAS_NODES} values`,
        );
      return nothing;
    }
    if (depth > MAX_DEPTH) {
      this.#problem(origin, path, `nested more than ${MAX_DEPTH} levels deep`);
      return nothing;
    }
    if (isAlias(node)) return this.#alias(node.source, node, path, depth) ?? nothing;
    if (isScalar(node)) return { kind: "scalar", origin, value: this.#scalar(node.value, origin, path) };
    this.#open.add(node);
    try {
      if (isMap(node)) return this.#map(node, origin, path, depth, inAlias);
      if (isSeq(node)) {
        const items = node.items.map((item, index) =>
          this.node(item as Node, [...path, index], depth + 1, inAlias),
        );
        return { kind: "list", origin, items };
      }
      return nothing;
    } finally {
      this.#open.delete(node);
    }
  }

  #alias(name: string, node: Node, path: Path, depth: number): ConfigNode | undefined {
    const origin = this.#originAt(node.range?.[0] ?? 0);
    const target = isAlias(node) ? node.resolve(this.#document) : undefined;
    if (target === undefined)
      this.#problem(origin, path, `the alias *${name} has no anchor &${name} before it`);
    else if (this.#open.has(target))
      this.#problem(origin, path, `the alias *${name} lies inside of its own anchor`);
    else if (this.#aliasNodes <= MAX_ALIAS_NODES) return this.node(target, path, depth + 1, true);
    return undefined;
  }

  #map(node: YAMLMap, origin: Origin, path: Path, depth: number, inAlias: boolean): ConfigNode {
    const entries = new Map<string, { key: Origin; value: ConfigNode }>();
    for (const pair of node.items as Pair<Node, Node | null>[]) {
      const at = this.#originAt(pair.key.range?.[0] ?? 0);
      const key = this.#key(pair.key, at, path);
      if (key === undefined) continue;
      const before = entries.get(key);
      if (before !== undefined) {
        const where = before.key.line > 0 ? `: it is there already at line ${before.key.line}` : "";
        this.#problem(at, [...path, key], `duplicate key ${JSON.stringify(key)}${where}`);
        continue;
      }
      const value: ConfigNode = pair.value
        ? this.node(pair.value, [...path, key], depth + 1, inAlias)
        : { kind: "scalar", origin: at, value: null };
      entries.set(key, { key: at, value });
    }
    return { kind: "map", origin, entries };
  }

  #key(node: Node, at: Origin, path: Path): string | undefined {
    const value = isScalar(node) ? node.value : undefined;
    const key = typeof value === "string" ? value : isScalar(node) && node.source ? node.source : undefined;
    if (key === undefined) this.#problem(at, path, "a key must be plain text");
    else if (key === "__proto__") this.#problem(at, path, "the key __proto__ is not allowed");
    else if (key === "<<")
      this.#problem(at, path, "merge keys (<<) are not part of YAML 1.2: write the keys out");
    else return key;
    return undefined;
  }

  #scalar(value: unknown, origin: Origin, path: Path): string | number | boolean | null {
    if (typeof value === "string" || typeof value === "boolean" || value === null) return value;
    if (typeof value !== "number") return String(value);
    if (!Number.isFinite(value)) this.#problem(origin, path, "the number is not finite");
    else if (Number.isInteger(value) && !Number.isSafeInteger(value))
      this.#problem(origin, path, "the number is too large to be kept exactly: put it in quotes");
    return value;
  }

  #problem(origin: Origin, path: Path, message: string): void {
    if (this.problems.length < MAX_SYNTAX_PROBLEMS) this.problems.push(problemAt(origin, path, message));
  }
}

function problemAt(origin: Origin, path: Path, message: string): ConfigProblem {
  const { file, line, column } = origin;
  return { file, line, column, path: formatPath(path), message };
}
