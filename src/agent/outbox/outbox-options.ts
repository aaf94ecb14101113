import type { Logger } from "../../core/logger.ts";
import { SENT_AHEAD } from "../../model/record.ts";
import { BACKLOG, type BacklogBounds } from "./backlog.ts";
import type { PaceOptions } from "./pace.ts";
import type { OutboxStore } from "./ports.ts";

export interface OutboxOptions {
  store: OutboxStore;
  log: Logger;
  batchRows?: number;
  batchBytes?: number;
  /**
   * From what on a lane's backlog drains beside its fresh rows, and how fast. Without a pace everything goes as fast as it
   * can, and few rows do not wait for more.
   */
  backlog?: BacklogBounds;
  pace?: PaceOptions;
  /** Of each lane, sent and not acknowledged; backlog has as much again. */
  windowBatches?: number;
  /** As in the store's cap of the outbox. */
  sentAhead?: number;
  windowBytes?: number;
}

/** How much goes at once. */
export interface OutboxLimits {
  rows: number;
  bytes: number;
  windowBatches: number;
  windowBytes: number;
  sentAhead: number;
  backlog: BacklogBounds;
}

/**
 * With the defaults. Sixteen batches, since they may be compressed to a tenth: a link of 10 Mbit/s and 50 ms has to be full
 * all the same.
 */
export function limitsOf(options: OutboxOptions): OutboxLimits {
  const sentAhead = options.sentAhead ?? SENT_AHEAD;
  return {
    // Several batches must fit into what may be ahead.
    rows: Math.min(options.batchRows ?? 500, Math.ceil(sentAhead / 2)),
    bytes: options.batchBytes ?? 512 * 1024,
    windowBatches: options.windowBatches ?? 16,
    windowBytes: options.windowBytes ?? 4 * 1024 * 1024,
    sentAhead,
    backlog: options.backlog ?? BACKLOG,
  };
}
