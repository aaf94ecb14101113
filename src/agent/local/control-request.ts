import * as v from "valibot";
import { ERROR_CODES, HoldfastError, messageOf } from "../../core/errors.ts";

export type Handler = (request: ControlRequest) => unknown;
/** Path with `:names` → method → handler; found by `matcher` (control-routes.ts). */
export type ControlRoutes = Record<string, Partial<Record<"GET" | "POST" | "PUT" | "DELETE", Handler>>>;

/** A user of this host, as recorded: `local:<uid>`. */
export interface Caller {
  uid: number;
  by: string;
}

/**
 * Header in which the command line says for whom it acts: the user behind `sudo`, else its own. The socket lets in only root
 * and the agent's user, and either of them could change the agent's store itself: the name is a record, not a barrier.
 */
export const CALLER_HEADER = "holdfast-uid";
const MAX_UID = 0xffff_fffe;
const PARAMETER = v.pipe(v.string(), v.minLength(1), v.maxLength(256));

/** One request, with everything that came from outside checked as it is asked for. */
export class ControlRequest {
  readonly #request: Request;
  readonly #parts: Record<string, string>;

  /** `parts`: of the path, by their names, decoded. */
  constructor(request: Request, parts: Record<string, string>) {
    this.#request = request;
    this.#parts = parts;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  get raw(): Request {
    return this.#request;
  }

  header(name: string): string | null {
    return this.#request.headers.get(name);
  }

  /** A part of the path, decoded. */
  part(name: string): string {
    return check(PARAMETER, this.#parts[name], `${name} in the address`);
  }

  query<S extends v.GenericSchema>(schema: S): v.InferOutput<S> {
    const { searchParams } = new URL(this.#request.url);
    return check(schema, Object.fromEntries(searchParams), "the query");
  }

  async body<S extends v.GenericSchema>(schema: S): Promise<v.InferOutput<S>> {
    const text = await this.#request.text();
    let value: unknown;
    try {
      value = text === "" ? {} : JSON.parse(text);
    } catch (error) {
      throw new HoldfastError("invalid", `the body is no JSON: ${messageOf(error)}`);
    }
    return check(schema, value, "the body");
  }

  caller(): Caller {
    const text = this.header(CALLER_HEADER) ?? String(process.getuid?.() ?? 0);
    const uid = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (!(uid <= MAX_UID)) {
      throw new HoldfastError(
        "invalid",
        `the header ${CALLER_HEADER} holds no user id: "${text.slice(0, 40)}"`,
      );
    }
    return { uid, by: `local:${uid}` };
  }
}

/** What a handler gives back becomes the answer; what it throws becomes a problem `{code, message}` with its status. */
export async function answer(
  handler: Handler,
  request: Request,
  parts: Record<string, string>,
  mask: (text: string) => string,
): Promise<Response> {
  try {
    const value = await handler(new ControlRequest(request, parts));
    if (value instanceof Response) return value;
    const headers = { "content-type": "application/json;charset=utf-8" };
    return new Response(mask(JSON.stringify(value ?? { ok: true })), { headers });
  } catch (error) {
    return problem(error, mask);
  }
}

export function problem(error: unknown, mask = (text: string) => text): Response {
  const known = error instanceof HoldfastError ? error : new HoldfastError("failed", messageOf(error));
  return Response.json(
    { code: known.code, message: mask(known.message) },
    { status: ERROR_CODES[known.code].http },
  );
}

function check<S extends v.GenericSchema>(schema: S, value: unknown, what: string): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const reasons = parsed.issues.map((issue) => {
    const path = v.getDotPath(issue);
    return path === null ? issue.message : `${path}: ${issue.message}`;
  });
  throw new HoldfastError("invalid", `${what} is not as it must be: ${reasons.slice(0, 10).join("; ")}`);
}

const PAGE_MAX = 1000;
const wholeText = v.pipe(v.string(), v.regex(/^\d{1,15}$/, "a whole number"), v.transform(Number));

/** `limit` and `before` of every list. */
export const PAGE_QUERY = {
  limit: v.optional(v.pipe(wholeText, v.minValue(1), v.maxValue(PAGE_MAX)), "50"),
  before: v.optional(wholeText),
} as const;

/** A page of a list, of which one row more than asked for was read; `next` goes into `before`. */
export function page<T extends { n: number }>(rows: T[], limit: number): { items: T[]; next: string | null } {
  const items = rows.slice(0, limit);
  return { items, next: rows.length > limit ? String(items.at(-1)!.n) : null };
}
