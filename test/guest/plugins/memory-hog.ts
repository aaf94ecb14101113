import { defineTrigger, v } from "holdfast";

/** Takes memory that it really uses, a little more each turn, until somebody stops it. */
export default defineTrigger({
  name: "memory-hog",
  description: "Takes ever more memory",
  settings: v.strictObject({}),
  resources: { memory: "64MB" },
  async *run({ clock, signal }) {
    const taken: Uint8Array[] = [];
    for await (const _ of clock.every(20, signal)) {
      taken.push(new Uint8Array(4 * 1024 ** 2).fill(taken.length + 1));
      if (taken.length === 1) yield { type: "hog.began", data: {} };
    }
  },
});
