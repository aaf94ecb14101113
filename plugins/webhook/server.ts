import type { PluginClock, PluginLog } from "../../src/sdk/holdfast.ts";
import { type Caller, checkBearer, checkSignature } from "./authenticate.ts";
import type { ServerCertificate } from "./certificate.ts";
import type { Hook } from "./hooks.ts";
import type { Inbox } from "./inbox.ts";
import { Refusal } from "./problem.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Requests under way at once. */
const MAX_OPEN = 128;
/** Within this a body must have come. */
const BODY_MS = 10_000;
/** Within this the event must be kept; who calls is told to try again. */
const COMMIT_MS = 30_000;
const BUSY_SECONDS = "5";
/** Calls without the right secret that are answered with a reason, in a second. */
const FAILURES = 10;
/** Of the event as JSON. */
const MAX_EVENT = 200 * 1024;

export interface ServerOptions {
  address: string;
  port: number;
  /** Plain HTTP without it. */
  tls: ServerCertificate | undefined;
  auth: "bearer" | "hmac";
  secrets: string[];
  hooks: Map<string, Hook>;
  maxBody: number;
  rate: number;
  burst: number;
  inbox: Inbox;
  clock: PluginClock;
  log: PluginLog;
}

/** Answers calls: 202 when the event is kept, 204 when the call does not match. */
export function startServer(options: ServerOptions): { port: number; stop(): Promise<void> } {
  const { clock, log } = options;
  const mono = () => clock.mono();
  const rate = new TokenBucket({ perSecond: options.rate, burst: options.burst, mono });
  const failures = new TokenBucket({ perSecond: FAILURES, burst: FAILURES, mono });
  let open = 0;
  const answer = async (request: Request): Promise<Response> => {
    if (open >= MAX_OPEN) return busy("too many calls at once").response();
    open++;
    try {
      return await receive(options, request, rate);
    } catch (error) {
      if (!(error instanceof Refusal)) {
        log.error("a call failed", { error: error instanceof Error ? error.message : String(error) });
        return busy("the event could not be kept").response();
      }
      if (error.status !== 401) return error.response();
      const wait = failures.take();
      return (wait === null ? error : tooMany(wait)).response();
    } finally {
      open--;
    }
  };
  const server = Bun.serve({
    hostname: options.address,
    port: options.port,
    ...(options.tls && { tls: { cert: options.tls.cert, key: options.tls.key } }),
    idleTimeout: 60,
    // What is read is counted as it comes; a limit here would be answered without problem details.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    fetch: answer,
    error: () => busy("the call failed").response(),
  });
  return { port: server.port!, stop: () => server.stop(true) };
}

async function receive(options: ServerOptions, request: Request, rate: TokenBucket): Promise<Response> {
  const { auth, secrets, hooks, clock, inbox, maxBody } = options;
  const { headers } = request;
  // A bearer is known before its body is read; a signature is over the body.
  let caller: Caller | null = auth === "bearer" ? checkBearer(headers, secrets) : null;
  const body = await readBody(request, maxBody, clock);
  caller ??= checkSignature(headers, body, secrets, clock.wall());
  const wait = rate.take();
  if (wait !== null) throw tooMany(wait);
  const { pathname, searchParams: query } = new URL(request.url);
  const hook = hooks.get(pathname);
  if (hook === undefined) throw new Refusal(404, "there is no hook with this path");
  if (request.method !== "POST") throw new Refusal(405, "a hook takes POST only", { allow: "POST" });
  const json = /^application\/(\S+\+)?json\b/i.test(headers.get("content-type") ?? "");
  const event = hook.event({ body: new TextDecoder().decode(body), json, query });
  if (event === null) return new Response(null, { status: 204 });
  if (caller.id !== null) event.id = `${hook.path} ${caller.id}`;
  if (Buffer.byteLength(JSON.stringify(event)) > MAX_EVENT)
    throw new Refusal(413, `the event is larger than ${MAX_EVENT} bytes`);
  const kept = inbox.put(event);
  if (kept === null) throw busy("the agent is busy");
  await within(kept, COMMIT_MS, clock, () => busy("the event is not kept yet"));
  return Response.json({ accepted: true }, { status: 202 });
}

async function readBody(request: Request, maxBody: number, clock: PluginClock): Promise<Uint8Array> {
  const tooLarge = () => new Refusal(413, `a body may have ${maxBody} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > maxBody) throw tooLarge();
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const read = async () => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > maxBody) throw tooLarge();
      chunks.push(next.value);
    }
    return new Uint8Array(Buffer.concat(chunks));
  };
  try {
    return await within(read(), BODY_MS, clock, () => new Refusal(408, "the body did not come in time"));
  } catch (error) {
    void reader.cancel().catch(() => {});
    throw error;
  }
}

async function within<T>(work: Promise<T>, ms: number, clock: PluginClock, late: () => Refusal): Promise<T> {
  const over = new AbortController();
  // It may fail when nobody waits for it any more.
  work.catch(() => {});
  const timer = clock.sleep(ms, over.signal).then(() => {
    if (!over.signal.aborted) throw late();
    return undefined as never;
  });
  try {
    return await Promise.race([work, timer]);
  } finally {
    over.abort();
  }
}

function busy(detail: string): Refusal {
  return new Refusal(503, `${detail}: try again later`, { "retry-after": BUSY_SECONDS });
}

function tooMany(seconds: number): Refusal {
  return new Refusal(429, `too many calls: try again in ${seconds} s`, { "retry-after": String(seconds) });
}
