import { chmodSync, existsSync, unlinkSync } from "node:fs";
import { HoldfastError } from "../../core/errors.ts";
import { brakeRoutes } from "./control-brake.ts";
import { deadRoutes } from "./control-dead.ts";
import { eventRoutes } from "./control-events.ts";
import type { ControlPorts } from "./control-ports.ts";
import { answer, type ControlRoutes, problem } from "./control-request.ts";
import { memoryRoutes } from "./control-memory.ts";
import { parameterRoutes } from "./control-parameters.ts";
import { secretRoutes } from "./control-secrets.ts";
import { runPastRoutes } from "./control-run-past.ts";
import { runRoutes } from "./control-runs.ts";
import { findingRoutes } from "./control-findings.ts";
import { silenceRoutes } from "./control-silences.ts";
import { scheduleRoutes } from "./control-schedules.ts";
import { ControlStreams } from "./control-stream.ts";

/** sun_path of unix(7) holds 108 bytes with its final zero. */
const MAX_SOCKET_PATH = 107;
const MAX_BODY_BYTES = 1024 * 1024;

/**
 * The local way in, for the command line: HTTP on `control.sock`, mode 0600, so that only the agent's user and root
 * reach it. Callers are recorded as `local:<uid>` (see `CALLER_HEADER`).
 */
export function startControlSocket(path: string, ports: ControlPorts): { stop(): Promise<void> } {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new HoldfastError(
      "invalid",
      `the path of the control socket is longer than ${MAX_SOCKET_PATH} bytes: ${path}; choose a shorter --home`,
    );
  }
  if (existsSync(path)) unlinkSync(path);
  const streams = new ControlStreams(ports.clock, (listener) => ports.store.onOutbox(listener));
  const routes = {
    ...partRoutes(ports),
    ...runRoutes(ports, streams),
    ...runPastRoutes(ports),
    ...eventRoutes(ports, streams),
    ...findingRoutes(ports),
    ...deadRoutes(ports),
    ...scheduleRoutes(ports),
    ...memoryRoutes(ports),
    ...parameterRoutes(ports),
    ...secretRoutes(ports),
    ...brakeRoutes(ports),
    ...silenceRoutes(ports),
  };
  const before = process.umask(0o177);
  try {
    const server = Bun.serve({
      unix: path,
      maxRequestBodySize: MAX_BODY_BYTES,
      routes: served(routes, ports.mask),
      fetch: (request) =>
        problem(
          new HoldfastError(
            "not_found",
            `no such request: ${request.method} ${new URL(request.url).pathname}`,
          ),
        ),
    });
    chmodSync(path, 0o600);
    return {
      async stop() {
        streams.close();
        await server.stop(true);
        if (existsSync(path)) unlinkSync(path);
      },
    };
  } finally {
    process.umask(before);
  }
}

function partRoutes({ status, resetTrigger, log }: ControlPorts): ControlRoutes {
  return {
    "/v1/status": { GET: () => status() },
    "/v1/triggers/:trigger/reset": {
      POST(request) {
        const { by } = request.caller();
        const trigger = request.part("trigger");
        if (!resetTrigger(trigger)) {
          throw new HoldfastError("not_found", `there is no running trigger ${trigger}`);
        }
        log.info("trigger reset", { trigger, by });
        return { ok: true };
      },
    },
  };
}

type Served = Record<string, Record<string, (request: Bun.BunRequest) => Promise<Response>>>;

function served(routes: ControlRoutes, mask: (text: string) => string): Served {
  return Object.fromEntries(
    Object.entries(routes).map(([path, methods]) => [
      path,
      Object.fromEntries(
        Object.entries(methods).map(([method, handler]) => [
          method,
          (request: Bun.BunRequest) => answer(handler, request, mask),
        ]),
      ),
    ]),
  );
}
