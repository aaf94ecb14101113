import { serveStorage, type ThreadPort } from "../../storage/storage-thread.ts";
import { agentProgram } from "./agent-program.ts";

/** Entry of the storage thread, a Worker that owns the agent's database. */
serveStorage(globalThis as unknown as ThreadPort, agentProgram);
