import { type Context, Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { methodNotAllowed } from "hono/method-not-allowed";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { type ApiEnv, type ApiOptions, problem } from "./context.ts";
import { LiveStreams } from "./live.ts";
import { addRoutes } from "./routes.ts";

export interface Api {
  /**
   * Serves one request. Handed Bun's server, it takes the idle time limit off live streams by itself
   * (`Bun.serve({ fetch: api.fetch })` does that).
   */
  fetch(
    request: Request,
    server?: { timeout(request: Request, seconds: number): void },
  ): Response | Promise<Response>;
  /** Ends the live streams, so that a draining hub need not wait for their clients. */
  close(): void;
}

const BODY_LIMIT = 64 * 1024;
const SECURITY_HEADERS: Record<string, string> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** The hub's REST API under `/api/v1` (docs/api.md). */
export function createApi(options: ApiOptions): Api {
  const { store, clock, log } = options;
  const live = new LiveStreams({
    clock,
    log,
    onChange: (listener) => store.onChange(listener),
    ...options.live,
  });
  const app = new Hono<ApiEnv>();
  app.use(envelope(options));
  app.use(hostCheck);
  app.get("/api/v1", (c) => c.json({ name: "holdfast", version: options.version }));
  app.use(authentication(options));
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  app.use(bodyLimit({ maxSize: BODY_LIMIT, onError: refuseBody }));
  addRoutes(app, options, live);
  app.notFound((c) =>
    problem(
      c,
      new HoldfastError("not_found", `There is nothing at ${c.req.path}: docs/api.md lists the routes`),
    ),
  );
  app.onError((error, c) => {
    if (!(error instanceof HoldfastError) || error.code === "failed" || error.code === "corrupt") {
      log.error("A request failed", {
        requestId: c.get("requestId"),
        method: c.req.method,
        path: c.req.path,
        reason: messageOf(error),
      });
    }
    return problem(c, error);
  });
  return {
    fetch: (request, server) =>
      app.fetch(request, server ? { timeout: (each, seconds) => server.timeout(each, seconds) } : {}),
    close: () => live.close(),
  };
}

/** Request id in, security headers and request id out, one debug line a request. */
function envelope(options: ApiOptions): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const given = c.req.header("x-request-id");
    const requestId = given && /^[\w.-]{1,64}$/.test(given) ? given : options.ids.next();
    c.set("requestId", requestId);
    const startMs = options.clock.mono();
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
    c.res.headers.set("x-request-id", requestId);
    options.log.debug("Request", {
      requestId,
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      caller: c.get("caller")?.name,
      ms: Math.round(options.clock.mono() - startMs),
    });
  };
}

/** A page on another name that resolves to this host (DNS rebinding) must not reach the API from a browser. */
const hostCheck: MiddlewareHandler<ApiEnv> = async (c, next) => {
  const host = c.req.header("host") ?? new URL(c.req.url).host;
  if (isOwnHost(host)) return next();
  return problem(
    c,
    new HoldfastError(
      "denied",
      "This hub's API answers to localhost and IP addresses only: use http://127.0.0.1 with its port",
    ),
    { status: 421, title: "Misdirected request" },
  );
};

export function isOwnHost(host: string): boolean {
  const name = host.replace(/:\d{1,5}$/, "").toLowerCase();
  if (name === "localhost" || name.endsWith(".localhost")) return true;
  if (/^\[[0-9a-f:.]{2,45}\]$/.test(name)) return true;
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(name) && name.split(".").every((part) => Number(part) <= 255);
}

function authentication(options: ApiOptions): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const header = c.req.header("authorization");
    const token = /^bearer +(\S+)$/i.exec(header?.trim() ?? "")?.[1];
    if (token === undefined) {
      throw new HoldfastError(
        "unauthenticated",
        "This route needs an API token: send the header `Authorization: Bearer TOKEN`",
      );
    }
    const caller = await options.verifyToken(token);
    if (!caller) {
      throw new HoldfastError(
        "unauthenticated",
        "This hub does not know the API token that was sent: check that it is this hub's and complete",
      );
    }
    c.set("caller", caller);
    return next();
  };
}

function refuseMethod(c: Context<ApiEnv>, allowed: string[]): Response {
  const error = new HoldfastError(
    "usage",
    `${c.req.path} does not take ${c.req.method}: use ${allowed.join(" or ")}`,
  );
  return problem(c, error, {
    status: 405,
    title: "Method not allowed",
    headers: { allow: allowed.join(", ") },
  });
}

function refuseBody(c: Context<ApiEnv>): Response {
  return problem(
    c,
    new HoldfastError("too_large", `The body is larger than ${BODY_LIMIT} bytes: no route needs that much`),
  );
}
