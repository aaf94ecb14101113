export interface Due<T> {
  atMs: number;
  of: T;
}

/** Times at which something may be due, the earliest first (a binary heap). */
export class DueTimes<T> {
  readonly #heap: Due<T>[] = [];

  next(): Due<T> | undefined {
    return this.#heap[0];
  }

  clear(): void {
    this.#heap.length = 0;
  }

  push(due: Due<T>): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(due);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above]!.atMs <= due.atMs) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = due;
  }

  pop(): Due<T> | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last !== undefined && heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(due: Due<T>): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && heap[below + 1]!.atMs < heap[below]!.atMs) below++;
      if (heap[below]!.atMs >= due.atMs) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = due;
  }
}
