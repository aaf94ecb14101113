import { HoldfastError } from "./errors.ts";
import { isLoopback, isLoopbackHostHeader, type ListenAddress, listenError } from "./listen.ts";

/** One line of `/readyz?verbose`. Only `failed` makes the process unready. */
export interface Check {
  name: string;
  state: "ok" | "degraded" | "failed";
  reason?: string;
}

export interface HealthPortOptions {
  what: string;
  listen: ListenAddress;
  /** The setting that moves the port, named in errors. */
  setting: string;
  checks: () => Check[];
  /** What `/healthz` adds to the checks. Must hold no secret. */
  summary: () => Record<string, unknown>;
  /** Prometheus text. */
  metrics: () => Promise<{ contentType: string; text: string }>;
}

/**
 * `/livez` (the process only), `/readyz` (503 while a check has failed), `/healthz` (JSON) and `/metrics`, on loopback,
 * and nothing else. A foreign Host header is refused.
 */
export function startHealthPort(options: HealthPortOptions): { url: string; stop(): Promise<void> } {
  const { listen } = options;
  if (!isLoopback(listen.host)) {
    throw new HoldfastError(
      "invalid",
      `${options.what}: ${options.setting} must be a loopback address, not ${listen.host}`,
    );
  }
  const serve = () =>
    Bun.serve({
      hostname: listen.host,
      port: listen.port,
      maxRequestBodySize: 1024,
      fetch: (request) => answer(request, options),
      error: () => new Response("internal error\n", { status: 500 }),
    });
  try {
    const server = serve();
    const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
    return { url: `http://${host}:${server.port}`, stop: async () => void (await server.stop(true)) };
  } catch (error) {
    throw listenError(error, options.what, listen, options.setting);
  }
}

async function answer(request: Request, options: HealthPortOptions): Promise<Response> {
  if (!isLoopbackHostHeader(request.headers.get("host"))) return text("foreign Host header\n", 421);
  const url = new URL(request.url);
  const known = ["/livez", "/readyz", "/healthz", "/metrics"].includes(url.pathname);
  if (!known) return text("not found\n", 404);
  if (request.method !== "GET" && request.method !== "HEAD") return text("method not allowed\n", 405);
  if (url.pathname === "/livez") return text("ok\n", 200);
  if (url.pathname === "/metrics") {
    const { contentType, text: body } = await options.metrics();
    return new Response(body, { headers: { "content-type": contentType } });
  }
  const checks = options.checks();
  const failed = checks.some((check) => check.state === "failed");
  const status = failed ? 503 : 200;
  if (url.pathname === "/readyz") {
    const verbose = url.searchParams.has("verbose") || failed;
    return text(`${verbose ? checks.map(line).join("") : ""}${failed ? "not ready" : "ready"}\n`, status);
  }
  const overall = failed ? "failed" : checks.some((check) => check.state === "degraded") ? "degraded" : "ok";
  return Response.json({ status: overall, ...options.summary(), checks }, { status });
}

function line(check: Check): string {
  const mark = { ok: "+", degraded: "~", failed: "-" }[check.state];
  return `[${mark}]${check.name} ${check.state}${check.reason === undefined ? "" : `: ${check.reason}`}\n`;
}

function text(body: string, status: number): Response {
  return new Response(body, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}
