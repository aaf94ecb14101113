import { defineTrigger, v } from "holdfast";

const WISHED = 300;

/** Starts programs until no more can be started, and says how many there were. */
export default defineTrigger({
  name: "fork-hog",
  description: "Starts ever more programs",
  settings: v.strictObject({}),
  permissions: { exec: ["@system"], read: ["@system"] },
  resources: { processes: 20 },
  async *run({ clock, signal }) {
    const running: Bun.Subprocess[] = [];
    try {
      while (running.length < WISHED) running.push(Bun.spawn(["/usr/bin/sleep", "3600"]));
    } catch {
      // The kernel says no: that is what is to be counted.
    }
    yield { type: "forks.counted", data: { started: running.length } };
    await clock.sleep(2 ** 31 - 1, signal);
    for (const child of running) child.kill();
  },
});
