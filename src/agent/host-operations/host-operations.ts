import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Grant } from "../../model/grant.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { Policy } from "../../model/policy.ts";
import type { AuditLog } from "./audit-log.ts";
import { authorize } from "./authorize.ts";
import { shown } from "./objects.ts";
import type { Performer } from "./perform.ts";
import { RateLimit } from "./rate-limit.ts";
import type { Requester } from "./requester.ts";
import { type Operation, readOperation } from "./verbs.ts";

/** Operations under way at once, of all workers. */
const MAX_UNDER_WAY = 16;
const MAX_AUDITED_NAME = 300;
/** Most of an argument object that the audit keeps. */
const MAX_AUDITED_TEXT = 2000;

export interface HostRequest {
  by: Requester;
  grant: Pick<Grant, "host">;
  /** `systemd.restart:nginx.service` */
  operation: string;
  arguments?: JsonObject;
}

/** The privileged service, for what our own user may not. */
export interface ServiceClient {
  /** Throws `unreachable` with what to do when there is none. */
  request(operation: Operation, by: Requester): Promise<Json>;
}

export interface HostOperations {
  /** Throws `denied`, `invalid`, `exhausted`, or what the operation itself failed with. */
  perform(request: HostRequest): Promise<Json>;
}

export interface HostOperationsOptions {
  policy: () => Pick<Policy, "host">;
  run: Performer;
  /** null in the service itself. */
  service: ServiceClient | null;
  audit: AuditLog;
  clock: Clock;
  log: Logger;
  limit?: RateLimit;
}

/**
 * Does for a worker what it must not hold itself: checked against its grant and the policy, written down before it is done,
 * done by this process where its user may, by the privileged service where not.
 */
export function createHostOperations(options: HostOperationsOptions): HostOperations {
  const { clock } = options;
  const limit = options.limit ?? new RateLimit(clock);
  let underWay = 0;
  return {
    async perform(request) {
      // Counted before it is written down: refused requests in a flood would push out of the audit what matters.
      if (!limit.take(requesterKey(request.by))) {
        throw new HoldfastError("exhausted", `${request.by.plugin} asks for too many host operations: wait`);
      }
      const operation = await admit(request, options);
      if (options.policy().host.simulate) return simulate(request.by, operation, options);
      if (underWay >= MAX_UNDER_WAY) {
        throw new HoldfastError("busy", `${MAX_UNDER_WAY} host operations are under way: try again later`);
      }
      underWay++;
      try {
        return await execute(request.by, operation, options);
      } finally {
        underWay--;
      }
    },
  };
}

function requesterKey({ plugin, part, peer }: Requester): string {
  return peer === undefined ? `${plugin}/${part}` : `uid ${peer.uid}`;
}

/** The checked operation; a refused one is written down with the reason. */
async function admit(request: HostRequest, options: HostOperationsOptions): Promise<Operation> {
  const refused = async (error: HoldfastError, what: JsonObject) => {
    await options.audit.record({ ...who(request.by), ...what, allowed: false, reason: error.message });
    return error;
  };
  let operation: Operation;
  try {
    operation = readOperation(request.operation, request.arguments);
  } catch (error) {
    throw await refused(asHoldfastError(error, `cannot read ${shown(request.operation)}`), {
      operation: request.operation.slice(0, MAX_AUDITED_NAME),
      arguments: audited(request.arguments ?? {}),
    });
  }
  const verdict = authorize(operation, request.grant.host, options.policy().host.operations);
  if (verdict.allowed) return operation;
  throw await refused(new HoldfastError("denied", verdict.reason), asked(operation));
}

async function simulate(
  by: Requester,
  operation: Operation,
  { run, audit }: HostOperationsOptions,
): Promise<Json> {
  const would = run.describe(operation, by);
  await audit.record({ ...who(by), ...asked(operation), allowed: true, simulated: true, would });
  return { simulated: true, would };
}

async function execute(
  by: Requester,
  operation: Operation,
  { run, service, audit, clock, log }: HostOperationsOptions,
): Promise<Json> {
  const own = run.may(operation);
  if (!own && service === null) {
    throw new HoldfastError("denied", `denied: host ${operation.text}: this process is not root`);
  }
  const line = { ...who(by), ...asked(operation), allowed: true, simulated: false };
  const started = clock.mono();
  await audit.record({ ...line, phase: "started", through: own ? "itself" : "service" });
  const ended = (outcome: JsonObject) => {
    const duration_ms = Math.round(clock.mono() - started);
    // It is done: a full disk now changes nothing about that, and the line before it stands.
    return audit
      .record({ ...line, phase: "ended", ...outcome, duration_ms })
      .catch((error: unknown) =>
        log.error("a host operation's end is not in the audit", { error: messageOf(error) }),
      );
  };
  try {
    const result = own ? await run.perform(operation, by) : await service!.request(operation, by);
    await ended({ result: "done" });
    return result;
  } catch (error) {
    const failure = asHoldfastError(error, operation.text);
    await ended({ result: failure.code, error: failure.message.slice(0, MAX_AUDITED_TEXT) });
    throw failure;
  }
}

function who(by: Requester): JsonObject {
  const { plugin, part, run, step, peer } = by;
  return {
    plugin,
    part,
    ...(run === undefined ? {} : { run }),
    ...(step === undefined ? {} : { step }),
    ...(peer === undefined ? {} : { uid: peer.uid, pid: peer.pid }),
  };
}

function asked(operation: Operation): JsonObject {
  return { operation: operation.text, arguments: operation.arguments };
}

/** Arguments that passed no schema: kept, but not without end. */
function audited(given: JsonObject): Json {
  const text = JSON.stringify(given);
  return text.length <= MAX_AUDITED_TEXT ? given : `${text.slice(0, MAX_AUDITED_TEXT)}…`;
}
