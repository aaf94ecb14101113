import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, type ErrorCode, ERROR_CODES, HoldfastError } from "../../core/errors.ts";
import type { StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";
import type { Ack, Cursor, ErrorFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import type { Session } from "../../protocol/transport.ts";
import { cursorOf, errorFrame } from "../../protocol/transport-frames.ts";
import type { OutboxPort } from "./ports.ts";
import { RecordPacker } from "./record-packer.ts";
import { signLosses } from "./sign-losses.ts";
import type { ReceiptBook } from "./receipt-book.ts";

export interface ExchangeOptions {
  /** Its id. */
  agent: string;
  session: Session;
  /** What both sides of the session can do. */
  common: Common;
  outbox: OutboxPort;
  clock: Clock;
  heartbeatMs: number;
  /** JSON object; told with each heartbeat. */
  status: () => unknown;
  /** Checks what the hub signs; undefined where this session has no receipts. */
  receipts: Pick<ReceiptBook, "check"> | undefined;
  /** The hub has acknowledged rows. */
  onProgress: () => void;
  onUnknownFrame: () => void;
}

/** Acks under way are waited for this long when the agent stops. */
const DRAIN_MS = 2000;
const MAX_RETRY_AFTER_MS = 300_000;

/**
 * Lives through one session: rows up, acks down, a heartbeat each interval. Resolves when `signal` aborted and what was
 * under way has drained; throws why the session ended otherwise (`conflict` asks for a new epoch).
 */
export async function exchange(options: ExchangeOptions, signal: AbortSignal): Promise<void> {
  const { session } = options;
  const inner = new AbortController();
  const onAbort = () => inner.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) inner.abort();
  const receiving = receive(options);
  const packer = new RecordPacker(options.common);
  const sending = Promise.all([
    options.outbox.pump(
      async (batch) =>
        await session.send(await packer.frame(await signLosses(options.agent, batch, session.key))),
      inner.signal,
    ),
    heartbeats(options, inner.signal),
  ]);
  try {
    await Promise.race([receiving, sending]);
    // Only a stop ends the sending without an error.
    const limit = new AbortController();
    const cancel = options.clock.after(DRAIN_MS, () => limit.abort());
    await Promise.race([options.outbox.settled(limit.signal), receiving.catch(() => limit.abort())]);
    cancel();
  } catch (error) {
    session.close();
    // A send that fails knows only that the session is over; the reader knows why.
    if (error instanceof HoldfastError && error.code === "unreachable") await receiving;
    throw error;
  } finally {
    inner.abort();
    signal.removeEventListener("abort", onAbort);
    session.close();
    await Promise.allSettled([receiving, sending]);
  }
}

async function heartbeats({ session, clock, heartbeatMs, status }: ExchangeOptions, signal: AbortSignal) {
  for (let sequence = 1n; !signal.aborted; sequence++) {
    const value = { sequence, wallMs: BigInt(clock.wall()), status: JSON.stringify(status()) };
    await session.send({ frame: { $case: "heartbeat", value } });
    await clock.sleep(heartbeatMs, signal).catch(() => {});
  }
}

/** Reads frames to the end of the session, and throws why it ended. */
async function receive(options: ExchangeOptions): Promise<never> {
  const { session, outbox, receipts, onProgress, onUnknownFrame } = options;
  let told: HoldfastError | undefined;
  for await (const { frame } of session.frames) {
    if (frame?.$case === "ack") {
      const cursor = required(frame.value.cursor);
      const receipt = receipts && (await checked(receipts, cursor, frame.value, session));
      outbox.acked(cursor, receipt);
      onProgress();
    } else if (frame?.$case === "error") {
      told = take(frame.value, outbox) ?? told;
      if (told?.details?.fork === true) throw told;
    } else onUnknownFrame();
  }
  const end = await session.closed;
  throw told ?? new HoldfastError(end.code ?? "unreachable", end.message);
}

/** A receipt that is not what it says is told to the hub, whose log may be the only one that is read. */
async function checked(
  receipts: Pick<ReceiptBook, "check">,
  cursor: StreamCursor,
  ack: Ack,
  session: Session,
): Promise<StreamReceipt> {
  try {
    return await receipts.check(cursor, ack.receipt);
  } catch (error) {
    const { code, message } = asHoldfastError(error, "a receipt");
    await session.send(errorFrame(code, message, cursor)).catch(() => {});
    throw error;
  }
}

/** What an error frame asks of the session: a gap is mended in place, everything else ends it. */
function take(error: ErrorFrame, outbox: OutboxPort): HoldfastError | undefined {
  if (error.code === "gap") {
    outbox.gap(required(error.cursor));
    return undefined;
  }
  const message = `the hub says: ${error.message.slice(0, 1000)}`;
  if (error.code === "fork") return new HoldfastError("conflict", message, { details: { fork: true } });
  const code = Object.hasOwn(ERROR_CODES, error.code) ? (error.code as ErrorCode) : "failed";
  const retryAfterMs = Math.min(Number(error.retryAfterMs), MAX_RETRY_AFTER_MS);
  return new HoldfastError(code, message, { details: { retryAfterMs } });
}

function required(cursor: Cursor | undefined): StreamCursor {
  if (cursor === undefined) throw new HoldfastError("invalid", "the hub sent an answer without its cursor");
  return cursorOf(cursor);
}
