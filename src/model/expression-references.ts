import type { ASTNode } from "@marcbachmann/cel-js";
import {
  children,
  EXPRESSION_NAMES,
  type ExpressionName,
  isNode,
  LIST_FUNCTIONS,
  methodName,
  parseExpression,
} from "./expression.ts";

/** A name that an expression asks for: `steps.a` is `{ name: "steps", key: "a" }`; key null is all of it, or computed. */
export interface Reference {
  name: ExpressionName;
  key: string | null;
}

/** Every name that a CEL expression refers to, once; none when it does not compile. */
export function referencesOf(source: string): Reference[] {
  let root: ASTNode;
  try {
    root = parseExpression(source);
  } catch {
    return [];
  }
  const found = new Map<string, Reference>();
  collect(root, new Set(), (reference) => found.set(`${reference.name} ${reference.key}`, reference));
  return [...found.values()];
}

/** `bound`: names that a list function around has given to its elements, which are not the ones of the context. */
function collect(node: ASTNode, bound: Set<string>, add: (reference: Reference) => void): void {
  const member = memberOf(node);
  if (member !== null) {
    if (!bound.has(member.name)) add(member);
    return;
  }
  if (node.op === "id") {
    const name = node.args as unknown as string;
    if (!bound.has(name) && isName(name)) add({ name, key: null });
    return;
  }
  const inner = boundBy(node);
  for (const [index, child] of children(node).entries()) {
    // The list itself is outside of what its function binds.
    if (isNode(child)) collect(child, inner === null || index < 2 ? bound : new Set([...bound, inner]), add);
  }
}

/** `steps.a` and `steps["a"]`. */
function memberOf(node: ASTNode): Reference | null {
  if (node.op !== "." && node.op !== "[]") return null;
  const [object, key] = node.args as unknown as [unknown, unknown];
  if (!isNode(object) || object.op !== "id") return null;
  const name = object.args as unknown as string;
  if (!isName(name)) return null;
  if (typeof key === "string") return { name, key };
  const literal = isNode(key) && key.op === "value" ? (key.args as unknown) : undefined;
  return typeof literal === "string" ? { name, key: literal } : null;
}

function boundBy(node: ASTNode): string | null {
  if (!LIST_FUNCTIONS.has(methodName(node) ?? "")) return null;
  const [first] = (node.args as unknown as unknown[][])[2] ?? [];
  return isNode(first) && first.op === "id" ? (first.args as unknown as string) : null;
}

function isName(name: string): name is ExpressionName {
  return (EXPRESSION_NAMES as readonly string[]).includes(name);
}
