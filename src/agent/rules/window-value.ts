import { jsonValue } from "../../model/expression.ts";
import type { WindowFunction } from "../../model/rule.ts";
import type { KeyWindow, WindowValue } from "./key-window.ts";

/** What the function gives for a window that holds at least one entry. */
export function computeWindow(compute: WindowFunction, window: KeyWindow): WindowValue {
  switch (compute) {
    case "count":
      return window.count;
    case "distinct":
      return window.distinct();
    case "sum":
      return window.total();
    case "avg":
      return window.total() / window.count;
    case "min":
      return window.least();
    case "max":
      return window.greatest();
    case "last":
      return window.values![window.values!.length - 1]!;
  }
}

const MAX_TEXT = 1024;

/** The result of `window.of` as an entry holds it. Throws an Error that says what would have been right. */
export function entryValue(compute: WindowFunction, result: unknown): WindowValue {
  const value = jsonValue(result);
  // Adding 0 makes 0 of -0: they are one value.
  if (typeof value === "number" && Number.isFinite(value)) return value + 0;
  const texts = compute === "distinct" || compute === "last";
  if (texts && typeof value === "boolean") return String(value);
  if (texts && typeof value === "string" && value.length <= MAX_TEXT) return value;
  const found = typeof value === "string" && texts ? `a text of ${value.length} characters` : kindOf(value);
  const wanted = texts ? `a number or a text of at most ${MAX_TEXT} characters` : "a number";
  throw new Error(`window.of gave ${found}, and ${compute} wants ${wanted}`);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
