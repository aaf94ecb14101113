import { holdBackCompiler } from "../../core/jit.ts";
import { serveStorage, type ThreadPort } from "../../storage/storage-thread.ts";
import { agentProgram } from "./agent-program.ts";

/** Entry of the storage thread, a Worker that owns the agent's database. Opening leaves 0.5 MB that nobody needs again. */
holdBackCompiler();
serveStorage(globalThis as unknown as ThreadPort, agentProgram, { opened: () => Bun.gc(true) });
