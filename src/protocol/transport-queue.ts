/**
 * Frames between a stream that pushes and a reader that pulls. When `high` frames wait, the source is paused; it goes
 * on when half of them are read. Ending keeps what already waits.
 */
export class FrameQueue<T> implements AsyncIterable<T> {
  readonly #high: number;
  readonly #flow: { pause(): void; resume(): void };
  #items: T[] = [];
  #wake: (() => void) | undefined;
  #paused = false;
  #ended = false;

  constructor(high: number, flow: { pause(): void; resume(): void }) {
    this.#high = high;
    this.#flow = flow;
  }

  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    if (!this.#paused && this.#items.length >= this.#high) {
      this.#paused = true;
      this.#flow.pause();
    }
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  get size(): number {
    return this.#items.length;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.#items.length > 0) {
        const item = this.#items.shift()!;
        this.#room();
        yield item;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  #room(): void {
    if (!this.#paused || this.#ended || this.#items.length > this.#high / 2) return;
    this.#paused = false;
    this.#flow.resume();
  }
}
