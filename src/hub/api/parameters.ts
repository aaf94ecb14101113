import * as v from "valibot";
import { isDuration, parseDuration } from "../../core/duration.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { SEVERITIES } from "../../model/event.ts";
import { RUN_STATES } from "../../model/run.ts";
import { badParameters, type ParameterError } from "./problem.ts";
import { parseSelector } from "./selector.ts";

export const MAX_PAGE = 1000;
const DEFAULT_PAGE = 50;
const MAX_TOKEN_TTL_MS = 30 * 86_400_000;

const filterText = v.pipe(v.string(), v.minLength(1, "must not be empty"), v.maxLength(512));
const wholeNumber = v.pipe(v.string(), v.regex(/^\d{1,15}$/, "must be a whole number"), v.transform(Number));
const limit = v.optional(
  v.pipe(
    wholeNumber,
    v.minValue(1, `must be 1 to ${MAX_PAGE}`),
    v.maxValue(MAX_PAGE, `must be 1 to ${MAX_PAGE}`),
  ),
  String(DEFAULT_PAGE),
);
const severity = v.picklist(SEVERITIES, `must be one of ${SEVERITIES.join(", ")}`);
const runState = v.picklist(RUN_STATES, `must be one of ${RUN_STATES.join(", ")}`);

const eventFilters = {
  agent: v.optional(filterText),
  type: v.optional(filterText),
  source: v.optional(filterText),
  severity: v.optional(severity),
};
const runFilters = {
  agent: v.optional(filterText),
  pipeline: v.optional(filterText),
  state: v.optional(runState),
};
const after = v.optional(wholeNumber);

/** A number of a live stream, as `Last-Event-ID` brings it back. */
export const streamPosition = wholeNumber;

export const agentsQuery = v.strictObject({
  selector: v.optional(
    v.pipe(
      v.string(),
      v.maxLength(2048),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        try {
          return parseSelector(dataset.value);
        } catch (error) {
          addIssue({ message: messageOf(error) });
          return NEVER;
        }
      }),
    ),
  ),
});

export const eventsQuery = v.strictObject({ ...eventFilters, limit, cursor: v.optional(wholeNumber) });
export const eventStreamQuery = v.strictObject({ ...eventFilters, after });
export const runsQuery = v.strictObject({
  ...runFilters,
  limit,
  cursor: v.optional(
    v.pipe(v.string(), v.regex(/^[^/]{1,128}\/[^/]{1,256}$/, "must be the `next` of the page before")),
  ),
});
export const runStreamQuery = v.strictObject({ ...runFilters, after });
export const runQuery = v.strictObject({ agent: v.optional(filterText) });
export const noQuery = v.strictObject({});

/** What a client may give for a run: a whole id, or at least 4 characters of its beginning or end. */
export const runReference = v.pipe(
  v.string(),
  v.toLowerCase(),
  v.regex(/^[0-9a-f-]{4,36}$/, "must be a run's id, or at least 4 characters of its beginning or end"),
);

export const joinTokenBody = v.strictObject({
  uses: v.optional(
    v.pipe(
      v.number("must be a number"),
      v.integer("must be a whole number"),
      v.minValue(1, "must be 1 to 1000"),
      v.maxValue(1000, "must be 1 to 1000"),
    ),
    1,
  ),
  ttl: v.optional(
    v.pipe(
      v.string("must be a text like 24h"),
      v.check(isDuration, "must be a duration like 30m or 24h"),
      v.transform(parseDuration),
      v.minValue(60_000, "must be 1m to 30d"),
      v.maxValue(MAX_TOKEN_TTL_MS, "must be 1m to 30d"),
    ),
    "24h",
  ),
});

/** The query of a URL through its schema; a parameter given twice or unknown to the route is an error as well. */
export function parseQuery<T extends v.GenericSchema>(schema: T, url: string): v.InferOutput<T> {
  const given: Record<string, string> = Object.create(null);
  const errors: ParameterError[] = [];
  for (const [name, value] of new URL(url).searchParams) {
    if (name in given) errors.push({ path: name, message: "is given more than once" });
    given[name] = value;
  }
  if (errors.length > 0) throw badParameters(errors);
  return parse(schema, { ...given });
}

export function parseValue<T extends v.GenericSchema>(
  schema: T,
  value: unknown,
  path: string,
): v.InferOutput<T> {
  return parse(schema, value, path);
}

function parse<T extends v.GenericSchema>(schema: T, value: unknown, path?: string): v.InferOutput<T> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw badParameters(result.issues.map((issue) => describe(issue, path)));
}

function describe(issue: v.BaseIssue<unknown>, root: string | undefined): ParameterError {
  const path = v.getDotPath(issue) ?? root ?? "body";
  if (issue.type === "strict_object" && issue.expected === "never") {
    return { path, message: "is not known here: see docs/api.md for what this route takes" };
  }
  return { path, message: issue.message };
}

/** A JSON object from a request's body; an empty body is `{}`. */
export async function jsonBody(request: Request): Promise<object> {
  const text = await request.text();
  if (text.trim() === "") return {};
  const value = parseJson(text);
  // Valibot takes an array for an object without keys.
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw badParameters([{ path: "body", message: "must be a JSON object" }]);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new HoldfastError("usage", `The body is not JSON (${messageOf(error)}): send one JSON object`);
  }
}
