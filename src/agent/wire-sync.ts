import type { Clock } from "../core/clock.ts";
import { parseDuration } from "../core/duration.ts";
import type { Ids } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { parseSize } from "../core/size.ts";
import { VERSION } from "../core/version.ts";
import type { Config } from "../model/config.ts";
import type { ProposedEvent } from "../model/event.ts";
import type { JsonObject } from "../model/json.ts";
import type { Protections } from "../model/protection.ts";
import { hostFacts } from "./local/host-facts.ts";
import { createOutbox } from "./outbox/outbox.ts";
import type { AgentStore } from "./store/port.ts";
import { readCertificates } from "./sync/certificates.ts";
import { ReceiptBook } from "./sync/receipt-book.ts";
import { startSync } from "./sync/start-sync.ts";

export interface SyncParts {
  hub: NonNullable<Config["hub"]>;
  backlog: Config["sync"]["backlog"];
  /** Folder with what enrollment left. */
  certificates: string;
  store: AgentStore;
  agent: { id: string; labels: Record<string, string> };
  status: () => JsonObject;
  /** Keeps an event of the agent's own. */
  tell: (event: ProposedEvent) => Promise<unknown>;
  protections: Promise<Protections>;
  clock: Clock;
  ids: Ids;
  log: Logger;
}

/** The way to the hub, loaded only by an agent that has one: store → outbox → sync. */
export function wireSync(parts: SyncParts) {
  const { hub, backlog, certificates, store, agent, status, tell, protections, clock, ids, log } = parts;
  return startSync({
    url: hub.url,
    mqtt:
      hub.mqtt === undefined
        ? undefined
        : { url: hub.mqtt, failoverAfterMs: parseDuration(hub.failover_after) },
    heartbeatMs: parseDuration(hub.heartbeat),
    certificates,
    agent,
    outbox: createOutbox({
      ...{ store, log: log.child("outbox") },
      pace: { clock, bytesPerSecond: parseSize(backlog.rate) },
    }),
    facts: async () => hostFacts(VERSION, await protections),
    receipts: new ReceiptBook({
      agent: agent.id,
      store,
      authority: async () => (await readCertificates(certificates)).ca,
      log: log.child("receipts"),
    }),
    ...{ status, tell, clock, ids, log: log.child("sync") },
  });
}
