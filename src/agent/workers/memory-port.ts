import { HoldfastError } from "../../core/errors.ts";
import type { Grant } from "../../model/grant.ts";
import type { Json } from "../../model/json.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import { pluginNamespace } from "../../model/namespace.ts";

/** The memory as one worker, or one call of an action, may use it. */
export interface MemorySessionPort {
  ask(request: MemoryRequest): Promise<Json>;
  /** Gives back what it holds. */
  close(): void;
}

export interface MemoryPort {
  open(client: {
    plugin: string;
    namespace: string;
    grant: Grant;
    part?: string | undefined;
  }): MemorySessionPort;
}

/**
 * A session that is opened by the first request. `namespace`: of the run that called the plugin; without one it is the
 * plugin's own. `part`: whose state it may keep.
 */
export function lazySession(
  port: MemoryPort | undefined,
  {
    plugin,
    grant,
    namespace,
    part,
  }: { plugin: string; grant: Grant; namespace?: string | undefined; part?: string },
): MemorySessionPort {
  let session: MemorySessionPort | undefined;
  let over = false;
  return {
    async ask(request) {
      if (port === undefined) throw new HoldfastError("failed", "this program has no memory to share");
      if (over) throw new HoldfastError("conflict", "the call is over: it has nothing to ask any more");
      const home = namespace ?? pluginNamespace(plugin, grant.namespaces);
      session ??= port.open({ plugin, namespace: home, grant, part });
      return await session.ask(request);
    },
    close() {
      over = true;
      session?.close();
    },
  };
}
