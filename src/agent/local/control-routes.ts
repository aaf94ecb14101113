import { HoldfastError } from "../../core/errors.ts";
import { brakeRoutes } from "./control-brake.ts";
import { deadRoutes } from "./control-dead.ts";
import { eventRoutes } from "./control-events.ts";
import { findingRoutes } from "./control-findings.ts";
import { memoryRoutes } from "./control-memory.ts";
import { parameterRoutes } from "./control-parameters.ts";
import type { ControlPorts } from "./control-ports.ts";
import { answer, type ControlRoutes, problem } from "./control-request.ts";
import { runPastRoutes } from "./control-run-past.ts";
import { runRoutes } from "./control-runs.ts";
import { scheduleRoutes } from "./control-schedules.ts";
import { secretRoutes } from "./control-secrets.ts";
import { silenceRoutes } from "./control-silences.ts";
import { ControlStreams } from "./control-stream.ts";

export interface ControlServer {
  answer(request: Request): Promise<Response>;
  /** Ends the live streams. */
  close(): void;
}

/** Everything that can be asked of the control socket. */
export function controlServer(ports: ControlPorts): ControlServer {
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
  const find = matcher(routes);
  return {
    async answer(request) {
      const { pathname } = new URL(request.url);
      const found = find(pathname);
      const handler = found?.methods[request.method as "GET"];
      if (found && handler) return await answer(handler, request, found.params, ports.mask);
      return problem(new HoldfastError("not_found", `no such request: ${request.method} ${pathname}`));
    },
    close: () => streams.close(),
  };
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

type Methods = ControlRoutes[string];

/** Finds the route of a path and what its `:names` stand for, decoded; a route that names a part goes before one that takes any. */
export function matcher(
  routes: ControlRoutes,
): (path: string) => { methods: Methods; params: Record<string, string> } | null {
  const known = Object.entries(routes)
    .map(([path, methods]) => ({ parts: path.split("/"), methods }))
    .toSorted((a, b) => namesIn(a.parts) - namesIn(b.parts));
  return (path) => {
    const given = path.split("/");
    const route = known.find(({ parts }) => fits(parts, given));
    if (!route) return null;
    const params = route.parts.flatMap((part, n) =>
      part.startsWith(":") ? [[part.slice(1), decoded(given[n]!)]] : [],
    );
    return { methods: route.methods, params: Object.fromEntries(params) as Record<string, string> };
  };
}

const namesIn = (parts: string[]) => parts.filter((part) => part.startsWith(":")).length;

function fits(parts: string[], given: string[]): boolean {
  if (parts.length !== given.length) return false;
  return parts.every((part, n) => (part.startsWith(":") ? given[n] !== "" : part === given[n]));
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
