import { serveStorage, type ThreadPort } from "../../storage/storage-thread.ts";
import { systemClock } from "../../core/clock.ts";
import { agentProgram } from "./agent-program.ts";
import type { OpenCommand } from "./commands.ts";

/** Entry of the storage thread, a Worker that owns the agent's database. */
const clock = systemClock();
serveStorage(globalThis as unknown as ThreadPort, (command: OpenCommand, faults) =>
  agentProgram(command, faults, () => clock.mono()),
);
