import { type ASTNode, Environment, serialize } from "@marcbachmann/cel-js";
import { RE2JS } from "re2js";
import { messageOf } from "../core/errors.ts";

export { celValue, jsonValue } from "./cel-value.ts";

/**
 * CEL (https://cel.dev), the language of `when`, `match` and `${{ }}`: the same names everywhere, a bound on size and
 * nesting, regular expressions in linear time, and mixed arithmetic on plain JSON numbers.
 */
export const EXPRESSION_NAMES = [
  "event",
  "agent",
  "steps",
  "params",
  "failure",
  "item",
  "window",
  "run",
  "memory",
  "secrets",
] as const;
export type ExpressionName = (typeof EXPRESSION_NAMES)[number];

/** Values by name, as `celValue` makes them. */
export type ExpressionContext = Partial<Record<ExpressionName, unknown>>;

/** `skipped`: the expression asked for a key that is not there. */
export type Evaluation =
  | { kind: "value"; value: unknown }
  | { kind: "skipped"; message: string }
  | { kind: "error"; message: string };

export interface Expression {
  readonly source: string;
  evaluate(context: ExpressionContext): Evaluation;
}

const MAX_SOURCE = 4096;
/** A list function inside a list function is the most: each level multiplies the cost by the length of a list. */
const MAX_NESTED_LISTS = 2;
/** Methods whose first argument names what the others see of each element. */
export const LIST_FUNCTIONS = new Set(["all", "exists", "exists_one", "map", "filter"]);
const LINEAR_MATCHES = "matchesLinear";

const environment = makeEnvironment();

function makeEnvironment(): Environment {
  const made = new Environment({
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: 1000, maxDepth: 50, maxListElements: 500, maxMapEntries: 500 },
  });
  for (const name of EXPRESSION_NAMES) made.registerVariable(name, "dyn");
  const compiled = new Map<string, RE2JS>();
  made.registerFunction(`string.${LINEAR_MATCHES}(string): bool`, (text: string, pattern: string) => {
    let regex = compiled.get(pattern);
    if (!regex) {
      if (compiled.size >= 200) compiled.clear();
      regex = RE2JS.compile(pattern);
      compiled.set(pattern, regex);
    }
    return regex.matcher(text).find();
  });
  const arithmetic: Record<string, (a: number, b: number) => number> = {
    "+": (a, b) => a + b,
    "-": (a, b) => a - b,
    "*": (a, b) => a * b,
    "/": (a, b) => a / b,
  };
  for (const [operator, compute] of Object.entries(arithmetic)) {
    const mixed = (a: unknown, b: unknown) => compute(Number(a), Number(b));
    made.registerOperator(`double ${operator} int`, mixed);
    made.registerOperator(`int ${operator} double`, mixed);
  }
  return made;
}

/** Compiles once; throws an Error whose message points into the source. */
export function compileExpression(source: string): Expression {
  const problem = sourceProblem(source);
  if (problem !== null) throw new Error(problem);
  const ast = environment.parse(source).ast;
  const run = environment.parse(useLinearMatches(ast) ? serialize(ast) : source);
  return {
    source,
    evaluate(context) {
      try {
        const value = run(context as Record<string, unknown>);
        if (value instanceof Promise) return { kind: "error", message: "the expression is not immediate" };
        return { kind: "value", value };
      } catch (error) {
        const kind = (error as { code?: unknown }).code === "no_such_key" ? "skipped" : "error";
        return { kind, message: firstLine(messageOf(error)) };
      }
    },
  };
}

function sourceProblem(source: string): string | null {
  if (source.trim() === "") return "the expression is empty";
  if (source.length > MAX_SOURCE)
    return `the expression has ${source.length} characters, more than ${MAX_SOURCE}`;
  try {
    const parsed = environment.parse(source);
    const checked = parsed.check();
    if (!checked.valid) return messageOf(checked.error);
    const nested = listNesting(parsed.ast);
    if (nested > MAX_NESTED_LISTS) {
      return `list functions are nested ${nested} deep, more than ${MAX_NESTED_LISTS}: the cost would explode`;
    }
    return patternProblem(parsed.ast);
  } catch (error) {
    return messageOf(error);
  }
}

/** What is wrong with a CEL condition, or null. It must give a bool. */
export function conditionProblem(source: string): string | null {
  const problem = sourceProblem(source);
  if (problem !== null) return problem;
  const type = environment.parse(source).check().type;
  return type === "bool" || type === "dyn" ? null : `the condition gives ${type}, not bool`;
}

/** What is wrong with a CEL expression that may give anything, or null. */
export function expressionProblem(source: string): string | null {
  return sourceProblem(source);
}

/** What is wrong with a CEL expression that must give a list, or null. */
export function listProblem(source: string): string | null {
  const problem = sourceProblem(source);
  if (problem !== null) return problem;
  const type = environment.parse(source).check().type ?? "dyn";
  return type === "dyn" || type.startsWith("list") ? null : `the expression gives ${type}, not a list`;
}

/** The tree of a source that compiles, for those who ask what it refers to. */
export function parseExpression(source: string): ASTNode {
  return environment.parse(source).ast;
}

export function children(node: ASTNode): unknown[] {
  return Array.isArray(node.args) ? (node.args as unknown[]).flat(2) : [node.args];
}

export function isNode(value: unknown): value is ASTNode {
  return typeof value === "object" && value !== null && "op" in value && "args" in value;
}

export function methodName(node: ASTNode): string | undefined {
  const first = node.op === "rcall" ? (node.args as unknown[])[0] : undefined;
  return typeof first === "string" ? first : undefined;
}

function listNesting(node: ASTNode): number {
  let deepest = 0;
  for (const child of children(node)) if (isNode(child)) deepest = Math.max(deepest, listNesting(child));
  return deepest + (LIST_FUNCTIONS.has(methodName(node) ?? "") ? 1 : 0);
}

/** The library's own `matches` is a backtracking RegExp: calls of it become calls of ours. True if there were any. */
function useLinearMatches(node: ASTNode): boolean {
  let found = false;
  if (methodName(node) === "matches") {
    (node.args as unknown[])[0] = LINEAR_MATCHES;
    found = true;
  }
  for (const child of children(node)) if (isNode(child)) found = useLinearMatches(child) || found;
  return found;
}

function patternProblem(node: ASTNode): string | null {
  if (methodName(node) === "matches") {
    const argument = ((node.args as unknown[])[2] as unknown[] | undefined)?.[0];
    if (isNode(argument) && argument.op === "value" && typeof argument.args === "string") {
      try {
        RE2JS.compile(argument.args);
      } catch (error) {
        return `bad regular expression ${JSON.stringify(argument.args)}: ${messageOf(error)}`;
      }
    }
  }
  for (const child of children(node)) {
    const problem = isNode(child) ? patternProblem(child) : null;
    if (problem !== null) return problem;
  }
  return null;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}
