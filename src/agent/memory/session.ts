import { HoldfastError } from "../../core/errors.ts";
import type { Grant } from "../../model/grant.ts";
import type { Json } from "../../model/json.ts";
import { checkoutExpired } from "../../model/memory.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import { fitsAny, namespaceProblem } from "../../model/namespace.ts";
import type { HeldCheckout, Memory } from "./memory.ts";
import type { PluginStates } from "./plugin-states.ts";

const MAX_HELD = 100;
/** Requests of one worker or call at once. */
const MAX_UNANSWERED = 64;
const PAGE = 1000;

export interface MemoryClient {
  /** For messages. */
  plugin: string;
  /** Where it is at home: of the run that called it, else its own. */
  namespace: string;
  grant: Pick<Grant, "memory" | "namespaces">;
  /** Whose state it may keep, like `trigger/front`. */
  part?: string | undefined;
}

/** The memory as one worker or one call of an action sees it: what it was granted, and what it holds while it is there. */
export class MemorySession {
  readonly #memory: Memory;
  readonly #client: MemoryClient;
  readonly #states: PluginStates | undefined;
  readonly #held = new Map<number, HeldCheckout & { namespace: string; key: string }>();
  readonly #over = new AbortController();
  #unanswered = 0;

  constructor(memory: Memory, client: MemoryClient, states?: PluginStates) {
    this.#memory = memory;
    this.#states = states;
    this.#client = client;
  }

  async ask(request: MemoryRequest): Promise<Json> {
    if (this.#unanswered >= MAX_UNANSWERED)
      throw new HoldfastError("busy", `${MAX_UNANSWERED} requests to the memory are under way`);
    this.#unanswered++;
    try {
      if (request.op === "load" || request.op === "save") return await this.#state(request);
      const namespace = this.#namespace(request.namespace);
      if (request.op !== "list") this.#checkKey(request.key);
      return await this.#answer(request, namespace);
    } finally {
      this.#unanswered--;
    }
  }

  /** Gives back what it holds, and ends its waiting. */
  close(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort(new HoldfastError("cancelled", "who asked for it is gone"));
    for (const { hold, ...at } of this.#held.values()) void this.#memory.checkIn(hold, at).catch(() => {});
    this.#held.clear();
  }

  async #state(request: Extract<MemoryRequest, { op: "load" | "save" }>): Promise<Json> {
    const { part, plugin } = this.#client;
    if (part === undefined || this.#states === undefined)
      throw new HoldfastError(
        "invalid",
        `plugin ${plugin} has no state of its own: write \`state: true\` in its plugin.yaml`,
      );
    if (request.op === "load") return await this.#states.load(part);
    await this.#states.save(part, request.value, request);
    return {};
  }

  async #answer(request: Exclude<MemoryRequest, { op: "load" | "save" }>, namespace: string): Promise<Json> {
    const memory = this.#memory;
    switch (request.op) {
      case "get": {
        const entry = await memory.get(namespace, request.key);
        return { exists: entry !== null, value: entry?.value ?? null };
      }
      case "set":
        await memory.set(namespace, request.key, request.value, request.ttlMs);
        return {};
      case "delete":
        return { existed: await memory.delete(namespace, request.key) };
      case "list":
        return await this.#list(request, namespace);
      case "checkout":
        return await this.#checkOut(request, namespace);
      case "update": {
        const held = this.#take(request, namespace);
        await memory.update(held.hold, { namespace, key: request.key }, request.value, request.ttlMs);
        return {};
      }
      case "checkin": {
        const held = this.#held.get(request.token);
        this.#held.delete(request.token);
        const isIt = held?.namespace === namespace && held.key === request.key;
        return { held: isIt && (await memory.checkIn(held.hold, held)) };
      }
    }
  }

  async #list({ prefix, after }: Extract<MemoryRequest, { op: "list" }>, namespace: string): Promise<Json> {
    const rows = await this.#memory.list({ namespace, prefix, after: [namespace, after] }, PAGE + 1);
    const keys = rows.slice(0, PAGE).map(({ key }) => key);
    return {
      keys: keys.filter((key) => fitsAny(key, this.#client.grant.memory)),
      next: rows.length > PAGE ? keys.at(-1)! : null,
    };
  }

  async #checkOut(request: Extract<MemoryRequest, { op: "checkout" }>, namespace: string): Promise<Json> {
    for (const [token, { hold }] of this.#held) if (hold.over) this.#held.delete(token);
    if (this.#held.size >= MAX_HELD)
      throw new HoldfastError("exhausted", `${MAX_HELD} keys of the memory are checked out: give some back`);
    const { key, waitMs } = request;
    const { signal } = this.#over;
    const taken = await this.#memory.checkOut(namespace, key, waitMs, signal);
    const { token, exists, value } = taken;
    this.#held.set(token, { ...taken, namespace, key });
    return { token, exists, value };
  }

  /** A token of somebody else is worth nothing. */
  #take({ key, token }: Extract<MemoryRequest, { op: "update" }>, namespace: string) {
    const held = this.#held.get(token);
    if (held?.namespace !== namespace || held.key !== key) throw checkoutExpired(key);
    this.#held.delete(token);
    return held;
  }

  #namespace(wanted: string | undefined): string {
    const { namespace, grant, plugin } = this.#client;
    if (wanted === undefined || wanted === namespace) return namespace;
    const problem = namespaceProblem(wanted);
    if (problem !== null) throw new HoldfastError("invalid", `memory: ${problem}`);
    if (fitsAny(wanted, grant.namespaces)) return wanted;
    throw new HoldfastError(
      "denied",
      `denied: namespace ${wanted} for plugin ${plugin}, which has ${namespace}: add it to permissions.namespaces of its manifest, and to the policy`,
    );
  }

  #checkKey(key: string): void {
    const { grant, plugin } = this.#client;
    if (fitsAny(key, grant.memory)) return;
    throw new HoldfastError(
      "denied",
      `denied: memory key ${JSON.stringify(key)} for plugin ${plugin}: add it to permissions.memory of its manifest, and to the policy`,
    );
  }
}
