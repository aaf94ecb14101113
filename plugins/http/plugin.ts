import { ActionError, defineAction, duration, type Json, v } from "../../src/sdk/holdfast.ts";
import { readBody } from "./read-body.ts";

/** Methods that change nothing on the other side (RFC 9110, 9.2.1). */
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);
const KEPT_HEADERS = ["content-type", "content-length", "location", "etag", "retry-after", "date"];

const status = v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(599));
const headerName = v.pipe(v.string(), v.regex(/^[\w!#$%&'*+.^`|~-]{1,128}$/, "a header name"));
const headerValue = v.pipe(v.string(), v.maxLength(8192), v.regex(/^[^\r\n\0]*$/, "text of one line"));

const settings = v.strictObject({
  url: v.pipe(
    v.string(),
    v.maxLength(8192),
    v.url(),
    v.regex(/^https?:\/\//, "an http:// or https:// address"),
    v.description("Address to send the request to"),
  ),
  method: v.pipe(
    v.optional(v.picklist(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]), "GET"),
    v.description("Method; all but GET, HEAD and OPTIONS carry an Idempotency-Key"),
  ),
  headers: v.pipe(v.optional(v.record(headerName, headerValue), {}), v.description("Headers to send")),
  body: v.pipe(v.optional(v.any()), v.description("Text is sent as it is, anything else as JSON")),
  expect: v.pipe(
    v.optional(v.union([status, v.pipe(v.array(status), v.minLength(1), v.maxLength(50))])),
    v.description("Status or statuses that count as success; default: 200 to 299"),
  ),
  timeout: v.pipe(
    v.optional(v.pipe(duration(), v.minValue(1))),
    v.description("Time for the whole exchange; the step's timeout when absent"),
  ),
});

type Settings = v.InferOutput<typeof settings>;

export default defineAction({
  name: "http",
  description: "Sends an HTTP request",
  settings,
  // Which secrets a request holds is written in the pipeline; the policy can allow fewer.
  permissions: { connect: ["${endpoint(settings.url)}"], secrets: ["*"] },
  async run({ settings, key, signal, timeoutMs }): Promise<Json> {
    const deadline = AbortSignal.timeout(Math.ceil(settings.timeout ?? timeoutMs));
    const target = nameOf(settings);
    try {
      const response = await fetch(settings.url, {
        ...request(settings, key),
        redirect: "manual",
        // A kept connection that the server has closed would leave it open whether the request arrived.
        keepalive: false,
        signal: AbortSignal.any([deadline, signal]),
      });
      const body = await readBody(response);
      if (!isExpected(settings.expect, response.status))
        throw unexpected(target, settings.method, response, body.value);
      const headers: Record<string, Json> = {};
      for (const name of KEPT_HEADERS) {
        const value = response.headers.get(name);
        if (value !== null) headers[name] = cut(value, 1024);
      }
      const output: Record<string, Json> = { status: response.status, headers, body: body.value };
      if (body.truncated) output.truncated = true;
      return output;
    } catch (error) {
      if (error instanceof ActionError) throw error;
      throw noAnswer(target, settings.method, error, deadline.aborted, signal.aborted);
    }
  },
});

/** The mark says that it was cut, also to who looks for pieces of secrets there. */
function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

function request({ method, headers, body }: Settings, key: string) {
  const all = new Headers(headers);
  const isSafe = SAFE.has(method);
  if (!isSafe && !all.has("idempotency-key")) all.set("idempotency-key", key);
  if (!all.has("user-agent")) all.set("user-agent", "holdfast");
  all.set("connection", "close");
  if (body === undefined) return { method, headers: all };
  if (isSafe) {
    const message = `a ${method} request cannot have a body: remove body, or set method to POST`;
    throw new ActionError(message, { code: "invalid", started: false, retryable: false });
  }
  if (typeof body === "string") return { method, headers: all, body };
  if (!all.has("content-type")) all.set("content-type", "application/json");
  return { method, headers: all, body: JSON.stringify(body) };
}

/** The address without what may be secret in it: user, password, query. */
function nameOf({ method, url }: Settings): string {
  const { origin, pathname } = new URL(url);
  return `${method} ${origin}${cut(pathname, 200)}`;
}

function isExpected(expect: Settings["expect"], status: number): boolean {
  if (expect === undefined) return status >= 200 && status <= 299;
  return [expect].flat().includes(status);
}

function unexpected(target: string, method: string, response: Response, body: Json): ActionError {
  const { status } = response;
  const retryAfter = response.headers.get("retry-after")?.slice(0, 64);
  const later = retryAfter ? `; it asks to wait (Retry-After: ${retryAfter})` : "";
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const said = body === null || text === "" ? "" : `: ${cut(text, 300)}`;
  return new ActionError(`${target} answered ${status}${later}${said}`, {
    code: status === 401 || status === 403 ? "denied" : status === 404 ? "not_found" : "failed",
    retryable: status >= 500 || status === 429 || status === 408,
    // 429 says that the request was not taken.
    started: !SAFE.has(method) && status !== 429,
  });
}

/** Errors of the connection from before a byte of the request was sent. */
const UNSENT: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ConnectionRefused: "connection refused",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "the name does not resolve just now",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is not signed by an authority that this host trusts",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not signed by an authority that this host trusts",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not signed by an authority that this host trusts",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not signed by an authority that this host trusts",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
};

function noAnswer(
  target: string,
  method: string,
  error: unknown,
  timedOut: boolean,
  stopped: boolean,
): ActionError {
  const code = String((error as { code?: unknown }).code ?? "");
  const unsent = UNSENT[code];
  const started = !SAFE.has(method) && unsent === undefined;
  if (stopped)
    return new ActionError(`${target} was stopped before it was answered`, { code: "cancelled", started });
  if (timedOut) return new ActionError(`${target} was not answered in time`, { code: "timed_out", started });
  const why =
    unsent ?? (code === "ECONNRESET" ? "the connection was closed" : String((error as Error).message));
  return new ActionError(`${target} failed: ${cut(why, 300)}`, { code: "unreachable", started });
}
