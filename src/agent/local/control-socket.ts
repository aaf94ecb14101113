import { chmodSync, existsSync, unlinkSync } from "node:fs";
import * as v from "valibot";
import { ERROR_CODES, HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { JsonObject } from "../../model/json.ts";

export interface ControlPorts {
  status(): JsonObject;
  /** A person's word on a step whose outcome is unknown. */
  decide(run: string, step: string, again: boolean, by: string): Promise<void>;
  resetTrigger(name: string): boolean;
  log: Logger;
}

const decisionSchema = v.strictObject({ decision: v.picklist(["approve", "deny"]) });

/** sun_path of unix(7) holds 108 bytes with its final zero. */
const MAX_SOCKET_PATH = 107;

/**
 * The local way in, for the command line: HTTP on `control.sock`, mode 0600, so that only the agent's user and root
 * reach it. Callers are recorded as `local:<uid>`.
 */
export function startControlSocket(path: string, ports: ControlPorts): { stop(): Promise<void> } {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new HoldfastError(
      "invalid",
      `the path of the control socket is longer than ${MAX_SOCKET_PATH} bytes: ${path}; choose a shorter --home`,
    );
  }
  if (existsSync(path)) unlinkSync(path);
  const before = process.umask(0o177);
  try {
    const server = Bun.serve({
      unix: path,
      maxRequestBodySize: 64 * 1024,
      fetch: (request) => route(request, ports),
    });
    chmodSync(path, 0o600);
    return {
      async stop() {
        await server.stop(true);
        if (existsSync(path)) unlinkSync(path);
      },
    };
  } finally {
    process.umask(before);
  }
}

async function route(request: Request, ports: ControlPorts): Promise<Response> {
  const { pathname } = new URL(request.url);
  const by = `local:${process.getuid?.() ?? 0}`;
  try {
    if (request.method === "GET" && pathname === "/v1/status") return Response.json(ports.status());
    const step = /^\/v1\/runs\/([^/]+)\/steps\/([^/]+)\/decision$/.exec(pathname);
    if (request.method === "POST" && step) {
      const { decision } = await body(request);
      const [, run, id] = step as unknown as [string, string, string];
      await ports.decide(decodeURIComponent(run), decodeURIComponent(id), decision === "approve", by);
      ports.log.info("decision on a step", { run, step: id, decision, by });
      return Response.json({ ok: true });
    }
    const trigger = /^\/v1\/triggers\/([^/]+)\/reset$/.exec(pathname);
    if (request.method === "POST" && trigger) {
      const name = decodeURIComponent(trigger[1]!);
      if (!ports.resetTrigger(name))
        throw new HoldfastError("not_found", `there is no running trigger ${name}`);
      ports.log.info("trigger reset", { trigger: name, by });
      return Response.json({ ok: true });
    }
    throw new HoldfastError("not_found", `no such request: ${request.method} ${pathname}`);
  } catch (error) {
    const known = error instanceof HoldfastError ? error : new HoldfastError("failed", messageOf(error));
    return Response.json(
      { code: known.code, message: known.message },
      { status: ERROR_CODES[known.code].http },
    );
  }
}

async function body(request: Request): Promise<v.InferOutput<typeof decisionSchema>> {
  const parsed = v.safeParse(decisionSchema, await request.json().catch(() => null));
  if (!parsed.success)
    throw new HoldfastError("invalid", 'the body must be {"decision": "approve"} or {"decision": "deny"}');
  return parsed.output;
}
