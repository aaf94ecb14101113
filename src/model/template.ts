import { messageOf } from "../core/errors.ts";
import { compileExpression, type Expression, type ExpressionContext, jsonValue } from "./expression.ts";
import type { Json } from "./json.ts";

const TEMPLATE = /\$\{\{([\s\S]*?)\}\}/g;

export interface TemplateProblem {
  path: (string | number)[];
  message: string;
}

/** A JSON value whose strings may hold `${{ CEL }}`. A string that is one template gives the value with its type. */
export interface Template {
  /** Throws an Error that names the place and the expression that failed. */
  resolve(context: ExpressionContext): Json;
}

export function compileTemplate(value: Json, path: string): Template {
  if (typeof value === "string") return compileText(value, path);
  if (value === null || typeof value !== "object") return { resolve: () => value };
  if (Array.isArray(value)) {
    const items = value.map((item, index) => compileTemplate(item, `${path}[${index}]`));
    return { resolve: (context) => items.map((item) => item.resolve(context)) };
  }
  const entries = Object.entries(value).map(
    ([key, item]) => [key, compileTemplate(item, path === "" ? key : `${path}.${key}`)] as const,
  );
  return {
    resolve: (context) => Object.fromEntries(entries.map(([key, item]) => [key, item.resolve(context)])),
  };
}

function compileText(text: string, path: string): Template {
  const parts: (string | Expression)[] = [];
  let end = 0;
  for (const match of text.matchAll(TEMPLATE)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    parts.push(compileExpression(match[1]!.trim()));
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  if (!parts.some((part) => typeof part !== "string")) return { resolve: () => text };
  const evaluate = (part: Expression, context: ExpressionContext): Json => {
    const result = part.evaluate(context);
    if (result.kind === "value") return jsonValue(result.value);
    throw new Error(`${path}: \${{ ${part.source} }}: ${result.message}${noEvent(part, context)}`);
  };
  const [only] = parts;
  if (parts.length === 1 && typeof only === "object")
    return { resolve: (context) => evaluate(only, context) };
  return {
    resolve: (context) =>
      parts
        .map((part) => {
          if (typeof part === "string") return part;
          const value = evaluate(part, context);
          return typeof value === "string" ? value : JSON.stringify(value);
        })
        .join(""),
  };
}

/** What was written for runs that rules start fails in those that people start. */
function noEvent({ source }: Expression, { event }: ExpressionContext): string {
  return event === null && /\bevent\./.test(source) ? " (there is no event: a person started the run)" : "";
}

/** Every template in `value` that does not compile or does not end, with its place. */
export function templateProblems(value: Json, path: (string | number)[] = []): TemplateProblem[] {
  if (typeof value === "string") {
    try {
      if (value.replace(TEMPLATE, "").includes("${{")) throw new Error("it has no }} at its end");
      compileText(value, "");
      return [];
    } catch (error) {
      return [{ path, message: messageOf(error) }];
    }
  }
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, item]) =>
    templateProblems(item, [...path, Array.isArray(value) ? Number(key) : key]),
  );
}

/** Every `${{ }}` in `value`, with its place. */
export function templateSources(
  value: Json,
  path: (string | number)[] = [],
): { path: (string | number)[]; source: string }[] {
  if (typeof value === "string") {
    return [...value.matchAll(TEMPLATE)].map((match) => ({ path, source: match[1]!.trim() }));
  }
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, item]) =>
    templateSources(item, [...path, Array.isArray(value) ? Number(key) : key]),
  );
}
