import type { StorageLink } from "../../storage/storage-link.ts";
import { ThreadedAgentStore } from "./agent-store.ts";
import type { AgentStoreOptions } from "./store-connection.ts";

/** Opens the agent's store on a thread of its own. A damaged file is set aside: see `facts.salvage`. */
export async function openAgentStore(options: Omit<AgentStoreOptions, "link">): Promise<ThreadedAgentStore> {
  const store = new ThreadedAgentStore({
    ...options,
    link: () => new Worker(threadAddress()) as unknown as StorageLink,
  });
  await store.open();
  return store;
}

/**
 * Address of the thread's module. In the executable each entrypoint lies under its path from their common folder: build it
 * with `src/main.ts` and `src/agent/store/thread.ts`. Absolute, because Bun would look for a relative one on the disk.
 */
function threadAddress(): string {
  if (Bun.isStandaloneExecutable) return `${import.meta.dir}/agent/store/thread.ts`;
  return new URL("./thread.ts", import.meta.url).href;
}
