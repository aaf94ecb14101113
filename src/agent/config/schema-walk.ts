import type * as v from "valibot";

/** The parts of a valibot schema that walking needs; pipes and optionals spread or wrap them. */
export interface SchemaView {
  type: string;
  wrapped?: SchemaView;
  entries?: Record<string, SchemaView>;
  item?: SchemaView;
  value?: SchemaView;
  options?: readonly unknown[];
  pipe?: readonly { type: string }[];
}

export function viewOf(schema: v.GenericSchema): SchemaView {
  return schema as unknown as SchemaView;
}

/** The schema without `optional` around it. */
export function unwrap(schema: SchemaView | undefined): SchemaView | undefined {
  let inner = schema;
  while (inner?.wrapped !== undefined) inner = inner.wrapped;
  return inner;
}

/** Schema of the member `key` (a number for list items); undefined where anything goes or nothing is known. */
export function childSchema(schema: SchemaView | undefined, key: string | number): SchemaView | undefined {
  const inner = unwrap(schema);
  switch (inner?.type) {
    case "strict_object":
      return Object.hasOwn(inner.entries!, key) ? inner.entries![key] : undefined;
    case "record":
      return inner.value;
    case "array":
      return inner.item;
    case "union":
      return unionOption(inner, "array")?.item;
    default:
      return undefined;
  }
}

/** Keys that may stand in a map of this schema, or undefined when any may. */
export function knownKeys(schema: SchemaView | undefined): string[] | undefined {
  const inner = unwrap(schema);
  return inner?.type === "strict_object" ? Object.keys(inner.entries!) : undefined;
}

export type Wants = "text" | "text or list" | "other" | "anything";

/** Whether text given for this schema is text, or must be read as YAML first. */
export function wants(schema: SchemaView | undefined): Wants {
  const inner = unwrap(schema);
  switch (inner?.type) {
    case undefined:
    case "any":
      return "anything";
    case "string":
    case "picklist":
      return "text";
    case "union":
      return unionOption(inner, "string") ? "text or list" : "other";
    default:
      return "other";
  }
}

function unionOption(union: SchemaView, type: string): SchemaView | undefined {
  return (union.options as SchemaView[]).find((option) => option.type === type);
}

/** What a person has to write there, in words. */
export function describeSchema(schema: SchemaView | undefined): string {
  const inner = unwrap(schema);
  switch (inner?.type) {
    case "string":
      return requirementOf(schema) ?? "text";
    case "number":
      return inner.pipe?.some((action) => action.type === "integer") ? "a whole number" : "a number";
    case "boolean":
      return "true or false";
    case "picklist":
      return `one of ${inner.options!.join(", ")}`;
    case "array":
      return "a list";
    case "strict_object":
    case "record":
      return "a map";
    case "union":
      return unionOption(inner, "array") ? "text or a list of texts" : "another type";
    default:
      return "a value";
  }
}

/** The wording that a pattern or check of ours carries as its message. */
function requirementOf(schema: SchemaView | undefined): string | undefined {
  const actions = (unwrap(schema)?.pipe ?? []) as { type: string; message?: unknown; pipe?: unknown }[];
  for (const action of actions) {
    if ((action.type === "regex" || action.type === "check") && typeof action.message === "string")
      return action.message;
    if (action.type === "string" && action.pipe) {
      const inner = requirementOf(action as unknown as SchemaView);
      if (inner !== undefined) return inner;
    }
  }
  return undefined;
}
