/** Of a stream that has rows to send, and room for them. */
export interface Sendable {
  lane: number;
  segment: number;
  /** It is backlog: fresh rows go into a later segment. */
  closed: boolean;
}

/** So many batches of fresh rows in a row, and it is the backlog's turn. */
export const FRESH_IN_A_ROW = 7;

/**
 * Which stream sends next. Fresh rows go before backlog, and within each results before events before bulk, of a lane's
 * closed segments the oldest first. Fresh rows that never end must not keep the backlog (of results, behind those of bulk)
 * for ever: while it may go at all, every eighth batch is the backlog's.
 */
export class SendOrder {
  #fresh = 0;

  /** `drains`: backlog may go now (its pace lets it). */
  next<Stream extends Sendable>(streams: Stream[], drains: boolean): Stream | undefined {
    const inOrder = streams.toSorted((a, b) => a.lane - b.lane || a.segment - b.segment);
    const fresh = inOrder.find(({ closed }) => !closed);
    const backlog = drains ? inOrder.find(({ closed }) => closed) : undefined;
    if (backlog && (!fresh || this.#fresh >= FRESH_IN_A_ROW)) {
      this.#fresh = 0;
      return backlog;
    }
    // Counted only while something stands behind them.
    this.#fresh = backlog ? this.#fresh + 1 : this.#fresh;
    return fresh;
  }
}
