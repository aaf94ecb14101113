/** Entry of the storage thread, a Worker that owns the agent's database. */
import { holdBackCompiler } from "../../core/jit.ts";
import type { ThreadPort } from "../../storage/storage-thread.ts";
import type { OpenCommand } from "./commands.ts";

const port = globalThis as unknown as ThreadPort;
/** What comes while the rest is being loaded would else be dropped. */
const early: Parameters<NonNullable<ThreadPort["onmessage"]>>[0][] = [];
port.onmessage = (message) => void early.push(message);
// Before anything else is loaded: loading alone would make the compiler start.
holdBackCompiler();
const [{ serveStorage }, { agentProgram }, { systemClock }] = await Promise.all([
  import("../../storage/storage-thread.ts"),
  import("./agent-program.ts"),
  import("../../core/clock.ts"),
]);
const clock = systemClock();
serveStorage(
  port,
  (command: OpenCommand, faults) => agentProgram(command, faults, () => clock.mono()),
  // Opening leaves garbage of 0.5 MB that a thread with nothing to do would keep.
  { opened: () => Bun.gc(true) },
);
for (const message of early) port.onmessage(message);
