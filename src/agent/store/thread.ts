import { systemClock } from "../../core/clock.ts";
import { holdBackCompiler } from "../../core/jit.ts";
import { serveStorage, type ThreadPort } from "../../storage/storage-thread.ts";
import { agentProgram } from "./agent-program.ts";
import type { OpenCommand } from "./commands.ts";

/** Entry of the storage thread, a Worker that owns the agent's database. Opening leaves 0.5 MB that nobody needs again. */
holdBackCompiler();
const clock = systemClock();
serveStorage(
  globalThis as unknown as ThreadPort,
  (command: OpenCommand, faults) => agentProgram(command, faults, () => clock.mono()),
  { opened: () => Bun.gc(true) },
);
