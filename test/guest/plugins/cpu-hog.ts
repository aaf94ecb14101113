import { defineTrigger, v } from "holdfast";

/** Computes without end, but answers now and then, so that only its share of the processor holds it. */
export default defineTrigger({
  name: "cpu-hog",
  description: "Takes all the processor time that it gets",
  settings: v.strictObject({}),
  resources: { cpu: 0.2 },
  async *run({ clock, signal }) {
    yield { type: "spin.began", data: {} };
    let sum = 0;
    while (!signal.aborted) {
      for (let n = 0; n < 2_000_000; n += 1) sum = (sum + n * n) % 1_000_003;
      await clock.sleep(0, signal);
    }
  },
});
