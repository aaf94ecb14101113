import { parseDuration } from "../core/duration.ts";
import { VERSION } from "../core/version.ts";
import type { JsonObject } from "../model/json.ts";
import type { AgentOptions } from "./agent-options.ts";
import { hostFacts } from "./local/host-facts.ts";
import type { AgentStore } from "./store/port.ts";

/** Starts what keeps a session with the hub: loaded only by an agent that has one. `status` goes with each heartbeat. */
export async function wireSync(options: AgentOptions, store: AgentStore, status: () => JsonObject) {
  const { home, config, id, clock, ids, log } = options;
  const [{ createOutbox }, { startSync }] = await Promise.all([
    import("./outbox/outbox.ts"),
    import("./sync/start-sync.ts"),
  ]);
  return startSync({
    url: config.hub!.url,
    mqtt:
      config.hub!.mqtt === undefined
        ? undefined
        : { url: config.hub!.mqtt, failoverAfterMs: parseDuration(config.hub!.failover_after) },
    heartbeatMs: parseDuration(config.hub!.heartbeat),
    certificates: home.certificates,
    agent: { id, labels: config.agent.labels },
    outbox: createOutbox({ store, log: log.child("outbox") }),
    facts: async () => hostFacts(VERSION, await options.protections),
    status,
    clock,
    ids,
    log: log.child("sync"),
  });
}
