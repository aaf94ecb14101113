import type { ProposedEvent } from "../../model/event.ts";
import type { JsonObject } from "../../model/json.ts";
import type { HubLoss } from "./receipt-book.ts";
import { type HubLossStatus, laneName, receiptStatus } from "./sync-status.ts";

/** The hub came back with less than it had signed for: said with the proof; what is still here is then sent again. */
export function hubLossStatus(loss: HubLoss): HubLossStatus {
  return { lane: laneName(loss.cursor.lane), held: loss.held, ...receiptStatus(loss) };
}

export function hubLossText({ lane, held, number }: Pick<HubLossStatus, "lane" | "held" | "number">): string {
  return (
    `the hub lost rows it had acknowledged: rows ${held + 1} to ${number} of lane ${lane} are not there any more, and a ` +
    "receipt proves that they were"
  );
}

/** Everything that it takes to check the receipt, but for its certificate, which the store has. */
export function hubLossProof({ cursor, receipt, held }: HubLoss): JsonObject {
  const { epoch, lane, segment, number } = cursor;
  return {
    ...{ hub: receipt.hub, epoch, lane, segment, held, number },
    ...{ hash: Buffer.from(cursor.hash).toString("hex"), key: receipt.key, atMs: receipt.atMs },
    signature: Buffer.from(receipt.signature).toString("base64"),
  };
}

/** Its id is that of the loss: told again after a restart, it is the same event. */
export function hubLossEvent(loss: HubLoss): ProposedEvent {
  const { epoch, lane, segment, number } = loss.cursor;
  const id = `hub-lost/${loss.receipt.hub}/${epoch}/${lane}/${segment}/${number}`;
  return { type: "sync.hub.rows.lost", severity: "error", id, data: hubLossProof(loss) };
}
