import type { Json } from "../../model/json.ts";
import { DEFAULT_EVERY_MS, DEFAULT_WAIT_MS, type MemoryRequest } from "../../model/memory-request.ts";
import { ActionError, type PluginMemory, type PluginState } from "../../sdk/holdfast.ts";

/** Turns that an update takes before it gives up; each is lost only when the change takes over two seconds. */
const MAX_TURNS = 10;

type Taken = { token: number; exists: boolean; value: Json };
type Got = { exists: boolean; value: Json };
type Listed = { keys: string[]; next: string | null };

/** `context.memory` of a plugin, over requests to the agent. */
export function pluginMemory(ask: (request: MemoryRequest) => Promise<Json>): PluginMemory {
  const spaceOf = (options?: { namespace?: string }) =>
    options?.namespace === undefined ? {} : { namespace: options.namespace };
  return {
    async get(key, options) {
      const { exists, value } = (await ask({ op: "get", key, ...spaceOf(options) })) as Got;
      return exists ? value : undefined;
    },
    async set(key, value, options) {
      await ask({ op: "set", key, value, ttlMs: options?.ttl ?? null, ...spaceOf(options) });
    },
    async delete(key, options) {
      return ((await ask({ op: "delete", key, ...spaceOf(options) })) as { existed: boolean }).existed;
    },
    async list(options) {
      const all: string[] = [];
      for (let after = ""; ;) {
        const request = { op: "list", prefix: options?.prefix ?? "", after, ...spaceOf(options) } as const;
        const { keys, next } = (await ask(request)) as Listed;
        all.push(...keys);
        if (next === null) return all;
        after = next;
      }
    },
    async update(key, change, options) {
      const space = spaceOf(options);
      const waitMs = options?.wait ?? DEFAULT_WAIT_MS;
      for (let turn = 1; ; turn++) {
        const taken = (await ask({ op: "checkout", key, waitMs, ...space })) as Taken;
        const { token } = taken;
        const giveBack = () => ask({ op: "checkin", key, token, ...space });
        const value = taken.exists ? taken.value : undefined;
        const next = await attempted(change, value, giveBack);
        if (next === undefined) {
          await giveBack();
          return value;
        }
        try {
          await ask({ op: "update", key, token, value: next, ttlMs: options?.ttl ?? null, ...space });
          return next;
        } catch (error) {
          const late = error instanceof ActionError && error.code === "expired";
          if (!late || turn >= MAX_TURNS) throw error;
        }
      }
    },
  };
}

/** `context.state` of a plugin. */
export function pluginState(ask: (request: MemoryRequest) => Promise<Json>): PluginState {
  return {
    async load() {
      const { exists, value } = (await ask({ op: "load" })) as Got;
      return exists ? value : undefined;
    },
    async save(value, { every = DEFAULT_EVERY_MS, force = false } = {}) {
      await ask({ op: "save", value, everyMs: every, force });
    },
  };
}

/** What the plugin makes of a value; when it throws, nobody has to wait for it. */
async function attempted(
  change: Parameters<PluginMemory["update"]>[1],
  value: Json | undefined,
  giveBack: () => Promise<Json>,
): Promise<Json | undefined> {
  try {
    return await change(value);
  } catch (error) {
    await giveBack().catch(() => {});
    throw error;
  }
}
