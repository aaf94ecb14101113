import * as v from "valibot";
import type { Clock } from "../../core/clock.ts";
import { ERROR_CODES, type ErrorCode, HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import * as views from "../../hub/api/views.ts";
import { followStream, type Query, type StreamOptions } from "./follow.ts";
import { type HubTarget, isLoopbackUrl } from "./target.ts";

export interface ClientOptions {
  target: HubTarget;
  clock: Clock;
  ids: Pick<Ids, "random">;
  /** Ends every request and stream. */
  signal?: AbortSignal;
  /** From the request to the whole answer; for streams to its head. */
  timeoutMs?: number;
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** The hub's REST API, typed: answers go through their schema, problems become `HoldfastError`s with their code. */
export class HubClient {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  get target(): HubTarget {
    return this.#options.target;
  }

  info(): Promise<views.ApiInfo> {
    return this.#json("GET", "", views.apiInfoSchema);
  }

  agents(query: { selector?: string } = {}): Promise<views.Page<views.AgentItem>> {
    return this.#json("GET", `/agents${search(query)}`, views.pageSchema(views.agentItemSchema));
  }

  agent(id: string): Promise<views.AgentDetail> {
    return this.#json("GET", `/agents/${encodeURIComponent(id)}`, views.agentDetailSchema);
  }

  /** What the agent gave up before the hub had it, the newest first. */
  losses(id: string): Promise<views.Page<views.LossItem>> {
    return this.#json(
      "GET",
      `/agents/${encodeURIComponent(id)}/losses`,
      views.pageSchema(views.lossItemSchema),
    );
  }

  events(query: Query = {}): Promise<views.Page<views.EventItem>> {
    return this.#json("GET", `/events${search(query)}`, views.pageSchema(views.eventItemSchema));
  }

  runs(query: Query = {}): Promise<views.Page<views.RunItem>> {
    return this.#json("GET", `/runs${search(query)}`, views.pageSchema(views.runItemSchema));
  }

  /** `id` may be a whole id, or at least 4 characters of its beginning or end. */
  run(id: string, agent?: string): Promise<views.RunDetail> {
    return this.#json("GET", `/runs/${encodeURIComponent(id)}${search({ agent })}`, views.runDetailSchema);
  }

  stats(): Promise<views.Stats> {
    return this.#json("GET", "/stats", views.statsSchema);
  }

  createJoinToken(body: { uses?: number; ttl?: string }): Promise<views.JoinToken> {
    return this.#json("POST", "/join-tokens", views.joinTokenSchema, body);
  }

  rotateReceiptKey(): Promise<views.ReceiptKey> {
    return this.#json("POST", "/receipt-key/rotate", views.receiptKeySchema);
  }

  /** New events until the signal aborts; reconnects by itself and misses none (see `followStream`). */
  followEvents(options: StreamOptions): AsyncGenerator<views.EventItem> {
    return this.#follow("/events/stream", "event", views.eventItemSchema, options);
  }

  /** Runs each time they change, as they stand then. */
  followRuns(options: StreamOptions): AsyncGenerator<views.RunItem> {
    return this.#follow("/runs/stream", "run", views.runItemSchema, options);
  }

  #follow<T>(path: string, name: string, schema: v.GenericSchema<unknown, T>, options: StreamOptions) {
    const { clock, ids } = this.#options;
    const target = `${path}${search({ ...options.filter, after: options.after })}`;
    return followStream({
      ...options,
      name,
      clock,
      random: () => ids.random(),
      parse: (data) => parseAnswer(schema, data, target),
      open: (lastId, signal) => this.#openStream(target, lastId, signal),
    });
  }

  async #openStream(path: string, lastId: string, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (lastId !== "") headers["last-event-id"] = lastId;
    const opening = new AbortController();
    const cancelTimeout = this.#options.clock.after(this.#timeoutMs, () => opening.abort(TIMED_OUT));
    try {
      const response = await this.#fetch(path, {
        headers,
        signal: AbortSignal.any([signal, opening.signal]),
      });
      if (response.ok && response.body && /^text\/event-stream/.test(contentType(response))) return response;
      throw await this.#failure(response);
    } finally {
      cancelTimeout();
    }
  }

  async #json<T>(
    method: string,
    path: string,
    schema: v.GenericSchema<unknown, T>,
    body?: unknown,
  ): Promise<T> {
    const deadline = new AbortController();
    const cancelTimeout = this.#options.clock.after(this.#timeoutMs, () => deadline.abort(TIMED_OUT));
    const signals = [deadline.signal, ...(this.#options.signal ? [this.#options.signal] : [])];
    const headers: Record<string, string> = { accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    try {
      const response = await this.#fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.any(signals),
      });
      if (!response.ok || !/^application\/json/.test(contentType(response)))
        throw await this.#failure(response);
      return parseAnswer(schema, await readText(response), path);
    } catch (error) {
      throw this.#transportError(error);
    } finally {
      cancelTimeout();
    }
  }

  async #fetch(
    path: string,
    init: BunFetchRequestInit & { headers: Record<string, string> },
  ): Promise<Response> {
    const { url, token } = this.target;
    try {
      return await fetch(`${url}/api/v1${path}`, {
        ...init,
        headers: { ...init.headers, authorization: `Bearer ${token}` },
        // A redirect could carry the token to another host.
        redirect: "manual",
        // Bun sends loopback requests through HTTP_PROXY as well, and with them the token.
        ...(isLoopbackUrl(new URL(url)) ? { proxy: false as unknown as undefined } : {}),
      });
    } catch (error) {
      throw this.#transportError(error);
    }
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? 10_000;
  }

  #transportError(error: unknown): unknown {
    if (error instanceof HoldfastError) return error;
    if (this.#options.signal?.aborted)
      return new HoldfastError("cancelled", "Stopped before the hub answered");
    const { url, source } = this.target;
    if (error === TIMED_OUT || (error as { name?: string } | null)?.name === "TimeoutError") {
      const seconds = this.#timeoutMs / 1000;
      return new HoldfastError(
        "timed_out",
        `The hub at ${url} did not answer within ${seconds} s (chosen by ${source}): it may be overloaded; try again`,
      );
    }
    return new HoldfastError(
      "unreachable",
      `The hub at ${url} does not answer (${systemCode(error) ?? messageOf(error)}; chosen by ${source}): is it running? ` +
        "Start it with holdfast up or holdfast hub run, or name another with --hub URL",
      { cause: error },
    );
  }

  /** What an answer that is not the expected one means. */
  async #failure(response: Response): Promise<HoldfastError> {
    const { url, source } = this.target;
    const problem = contentType(response).startsWith("application/problem+json")
      ? v.safeParse(views.problemSchema, parseJson(await readText(response)))
      : undefined;
    if (!problem?.success) {
      await response.body?.cancel().catch(() => {});
      const kind = contentType(response) || "no content";
      return new HoldfastError(
        response.status >= 500 ? "unreachable" : "failed",
        `${url} answered ${response.status} (${kind}), which is not what a hub's API does: check the address (chosen by ${source})`,
      );
    }
    const { code, detail, status, requestId } = problem.output;
    const whose = status === 401 ? ` (${url}, chosen by ${source})` : "";
    const trace = status >= 500 && requestId ? ` [request ${requestId}]` : "";
    const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "failed";
    const retryable = status === 429 || status >= 500;
    return new HoldfastError(known, `${detail}${whose}${trace}`, { retryable, details: { status } });
  }
}

const TIMED_OUT = new Error("timed out");

function search(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}

function contentType(response: Response): string {
  return response.headers.get("content-type")?.toLowerCase() ?? "";
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new HoldfastError(
        "too_large",
        `The hub's answer is larger than ${MAX_ANSWER_BYTES} bytes: ask for less with --limit`,
      );
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function parseAnswer<T>(schema: v.GenericSchema<unknown, T>, text: string, path: string): T {
  const result = v.safeParse(schema, parseJson(text));
  if (result.success) return result.output;
  const issue = result.issues[0];
  const where = v.getDotPath(issue) ?? "the document";
  throw new HoldfastError(
    "failed",
    `The hub's answer to ${path || "/"} is not as this command line expects (${where}: ${issue.message}): are both of the same version?`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
