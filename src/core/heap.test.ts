import { expect, test } from "bun:test";
import { Heap } from "./heap.ts";

test("items come out in order, whatever order they went in, also when some were dropped between", () => {
  let seed = 7;
  const next = () => (seed = (seed * 48_271) % 2_147_483_647);
  for (let round = 0; round < 50; round++) {
    const heap = new Heap<number>((a, b) => a - b);
    const items = Array.from({ length: next() % 60 }, () => next() % 100);
    for (const item of items) heap.push(item);
    const odd = round % 2 === 0 ? items : items.filter((item) => item % 2 === 1);
    if (round % 2 === 1) heap.retain((item) => item % 2 === 1);
    expect(heap.size).toBe(odd.length);
    const out: number[] = [];
    while (heap.size > 0) {
      expect(heap.peek()).toBeDefined();
      out.push(heap.pop()!);
    }
    expect(out).toEqual(odd.sort((a, b) => a - b));
    expect(heap.pop()).toBeUndefined();
  }
});
