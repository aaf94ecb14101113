import { defineTrigger, v } from "holdfast";

/**
 * Starts processes until no more can be started, ends them, and says how many there were. Those that were not waited for
 * would still take the room that the threads of the plugin host need.
 */
const PROGRAM = `
import os, signal
started = []
try:
    while len(started) < 300:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        started.append(pid)
except OSError:
    pass
for pid in started:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(len(started))
`;

export default defineTrigger({
  name: "fork-hog",
  description: "Starts ever more processes",
  settings: v.strictObject({}),
  permissions: { exec: ["@system"], read: ["@system"] },
  resources: { processes: 20 },
  async *run({ clock, signal }) {
    // Not in this process: without room for a thread the engine aborts.
    const child = Bun.spawn(["/usr/bin/python3", "-c", PROGRAM], { stdin: "ignore", stderr: "inherit" });
    const started = Number(await new Response(child.stdout).text());
    await child.exited;
    yield { type: "forks.counted", data: { started } };
    await clock.sleep(2 ** 31 - 1, signal);
  },
});
