/** Entry of the storage thread, a Worker that owns the agent's database. */
import { holdBackCompiler } from "../../core/jit.ts";
import type { ThreadPort } from "../../storage/storage-thread.ts";

// Before anything else is loaded: loading alone would make the compiler start.
holdBackCompiler();
const [{ serveStorage }, { agentProgram }] = await Promise.all([
  import("../../storage/storage-thread.ts"),
  import("./agent-program.ts"),
]);
// Opening leaves garbage of 0.5 MB that a thread with nothing to do would keep.
serveStorage(globalThis as unknown as ThreadPort, agentProgram, { opened: () => Bun.gc(true) });
