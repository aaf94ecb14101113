import type { Clock } from "../core/clock.ts";
import type { Ids } from "../core/ids.ts";
import { createLogger, type Logger } from "../core/logger.ts";
import type { JsonObject } from "../model/json.ts";
import { parseMemoryRequest, parseStateRequest } from "../model/memory-request.ts";
import type { Policy } from "../model/policy.ts";
import { openAuditLog } from "./host-operations/audit-log.ts";
import { hostHandler, logHandler } from "./host-operations/call-handlers.ts";
import { CALL_FD, CALL_TOKEN } from "./host-operations/call-lines.ts";
import { type CallHandler, type CallServer, serveCalls } from "./host-operations/call-server.ts";
import { createHostOperations, type HostOperations } from "./host-operations/host-operations.ts";
import { openKernelCalls } from "./host-operations/kernel-calls.ts";
import { createPerformer, ownRights } from "./host-operations/perform.ts";
import { findPrograms } from "./host-operations/programs.ts";
import { createServiceClient } from "./host-operations/service-client.ts";
import { lazySession, type MemoryPort } from "./workers/memory-port.ts";
import { type Masking, NO_MASKING } from "./workers/secret-port.ts";
import { additionCalls } from "./workers/scripts/addition-calls.ts";
import type { ScriptCalls } from "./workers/scripts/ports.ts";
import type { HostOperation } from "./workers/worker-maker.ts";

/** Where the privileged service listens, if it is installed. */
const SERVICE_SOCKET = "/run/holdfast/host.sock";
/** The descriptor that the launcher gives a script that may talk back. */
const SCRIPT_CALL_FD = 4;

export interface HostAccess {
  /** For plugins in TypeScript. */
  hostOperation: HostOperation;
  /** For scripts: `holdfast call`. */
  calls: ScriptCalls;
  close(): Promise<void>;
}

/**
 * What workers may have done on the host by the agent. The audit log and the programs are looked at when the first one asks:
 * most agents are never asked.
 */
export function openHostAccess(options: {
  auditFile: string;
  policy: () => Pick<Policy, "host">;
  /** What plugins share; absent where nothing is remembered. */
  memory?: MemoryPort | undefined;
  /** Takes what was handed out out of what scripts ask for. */
  masking?: Masking | undefined;
  clock: Clock;
  ids: Ids;
  log: Logger;
}): HostAccess {
  const { auditFile, policy, memory, masking = NO_MASKING, clock, ids, log } = options;
  let close = async () => {};
  let opened: HostOperations | undefined;
  const open = (): HostOperations => {
    const audit = openAuditLog({ path: auditFile, clock });
    close = () => audit.close();
    return createHostOperations({
      policy,
      run: createPerformer({
        programs: findPrograms(),
        kernel: openKernelCalls(),
        clock,
        protectedTrees: () => [process.pid],
        rights: ownRights(),
      }),
      service: createServiceClient({ socket: SERVICE_SOCKET, clock }),
      audit,
      clock,
      log: log.child("host-operations"),
    });
  };
  const operations: HostOperations = {
    perform: async (request) => await (opened ??= open()).perform(request),
  };
  return {
    hostOperation: (request) => operations.perform(request),
    calls: {
      open({ plugin, part, grant, log: sink, add, namespace, state }) {
        const remembers = memory !== undefined && grant.memory.length > 0;
        const keeps = memory !== undefined && state !== undefined;
        if (grant.host.length === 0 && !add && !remembers && !keeps) return undefined;
        const session = lazySession(memory, {
          plugin,
          grant,
          namespace,
          ...(state === undefined ? {} : { part: state }),
        });
        const token = ids.hex(16);
        const pluginLog = createLogger(
          { sinks: [sink], level: () => "debug", wall: () => clock.wall() },
          part,
        );
        const handlers = {
          host: hostHandler(operations, { by: { plugin, part }, grant }),
          log: logHandler((level, message, fields) =>
            pluginLog[level](message, fields ? { fields } : undefined),
          ),
          ...(add ? additionCalls(add) : {}),
          ...(remembers
            ? { memory: async (args: JsonObject) => await session.ask(parseMemoryRequest(args)) }
            : {}),
          ...(keeps ? { state: async (args: JsonObject) => await session.ask(parseStateRequest(args)) } : {}),
        };
        let server: CallServer | undefined;
        return {
          env: { [CALL_FD]: String(SCRIPT_CALL_FD), [CALL_TOKEN]: token },
          attach: (fd) => void (server = serveCalls(fd, masked(handlers, masking), { token, clock })),
          close() {
            session.close();
            server?.close();
          },
        };
      },
    },
    close: () => close(),
  };
}

/** What a script asks for is kept in logs, steps and the memory: no secret goes there. */
function masked(handlers: Record<string, CallHandler>, masking: Masking): Record<string, CallHandler> {
  return Object.fromEntries(
    Object.entries(handlers).map(([verb, handle]) => [verb, (args) => handle(masking.maskValue(args))]),
  );
}
