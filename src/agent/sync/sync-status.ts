import { type KeptReceipt, LANES } from "../../model/record.ts";

export interface SyncStatus {
  state: "disabled" | "connecting" | "online" | "offline";
  /** Unix ms by the agent's clock; since when it is in this state. */
  sinceMs: number;
  lastError: string | null;
  /** Rows the hub does not have yet. */
  lagRows: number;
  /** Of those, rows of closed segments, which drain behind fresh ones. */
  backlogRows: number;
  transport: string | null;
  hubId: string | null;
  /** Hub's clock minus ours, when last connected. */
  clockOffsetMs: number | null;
  /** Sessions after the first one. */
  reconnects: number;
  /** By lane, the newest receipt of its newest stream: what the hub has signed to hold. */
  receipts: Record<string, ReceiptStatus>;
  /** Rows that the hub had signed to hold and came back without, until it has signed for them again. */
  hubLost: HubLossStatus[];
  counts: SyncCounts;
}

export interface ReceiptStatus {
  hub: string;
  epoch: string;
  segment: number;
  number: number;
  /** Serial of the certificate. */
  key: string;
  /** By the hub's trusted clock. */
  atMs: number;
}

export interface HubLossStatus extends ReceiptStatus {
  lane: string;
  /** Last number that the hub has now. */
  held: number;
}

export interface SyncCounts {
  /** Frames of the hub that this version does not know. */
  unknownFrames: number;
  receiptsVerified: number;
  receiptsWrong: number;
  /** Times that the hub came back without rows that it had signed to hold. */
  hubLosses: number;
}

/** Of an agent without a hub. */
export const SYNC_OFF: SyncStatus = {
  state: "disabled",
  sinceMs: 0,
  lastError: null,
  lagRows: 0,
  backlogRows: 0,
  transport: null,
  hubId: null,
  clockOffsetMs: null,
  reconnects: 0,
  receipts: {},
  hubLost: [],
  counts: { unknownFrames: 0, receiptsVerified: 0, receiptsWrong: 0, hubLosses: 0 },
};

/** Of each lane the receipt of its newest segment. */
export function receiptsByLane(newest: KeptReceipt[]): Record<string, ReceiptStatus> {
  const byLane: Record<string, ReceiptStatus> = {};
  for (const kept of newest.toSorted((a, b) => a.cursor.segment - b.cursor.segment)) {
    byLane[laneName(kept.cursor.lane)] = receiptStatus(kept);
  }
  return byLane;
}

export function receiptStatus({ cursor: { epoch, segment, number }, receipt }: KeptReceipt): ReceiptStatus {
  const { hub, key, atMs } = receipt;
  return { hub, epoch, segment, number, key, atMs };
}

export function laneName(lane: number): string {
  return Object.entries(LANES).find(([, number]) => number === lane)?.[0] ?? String(lane);
}
