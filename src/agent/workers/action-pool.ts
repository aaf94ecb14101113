import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import type { AttemptFacts } from "../../model/attempt-facts.ts";
import type { Grant } from "../../model/grant.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { type ActionPorts, ActionWorker, type WorkerCall } from "./action-worker.ts";
import { DEFAULT_NAMESPACE, fitsAny } from "../../model/namespace.ts";
import type { SecretPort } from "./secret-port.ts";
import { notStarted } from "./call-outcome.ts";
import type { ScriptPorts } from "./scripts/ports.ts";
import { ScriptAction } from "./scripts/script-action.ts";

/** Workers of one action plugin that may rest side by side; calls with ever new grants push the oldest out. */
const MAX_RESTING = 16;
/** Workers of one action plugin at once, resting or not. */
const MAX_WORKERS = 64;

export interface ActionPool {
  /** `unknown` when the call was sent and no result came back; an error with `started: false` when it was not sent. */
  call(plugin: CatalogPlugin, call: WorkerCall, signal: AbortSignal): Promise<AttemptOutcome>;
  statuses(): PartStatus[];
  /** Takes an action out of quarantine; false when it has none. */
  reset(name: string): boolean;
  /** Stops the workers that have nothing to do before their time; how many. */
  stopIdle(): number;
  stop(): Promise<void>;
}

export interface PoolPorts extends ActionPorts {
  secrets: SecretPort | undefined;
  scripts: ScriptPorts;
  /** Hash under which it is kept what a worker of this plugin with this grant is; without it outcomes say nothing of it. */
  workerOf?: WorkerOf | undefined;
}

export type WorkerOf = (plugin: CatalogPlugin, grant: Grant) => string;

type Member = ActionWorker | ScriptAction;

/** The workers of action plugins: one for each plugin and grant, since what a call may touch can depend on its input. */
export class ActionPoolOf implements ActionPool {
  readonly #ports: PoolPorts;
  readonly #members = new Map<string, Map<string, Member>>();
  readonly #keys = new WeakMap<Grant, string>();

  constructor(ports: PoolPorts) {
    this.#ports = ports;
  }

  async call(plugin: CatalogPlugin, call: WorkerCall, signal: AbortSignal): Promise<AttemptOutcome> {
    let grant: Grant;
    try {
      grant = this.#ports.maker.grant(plugin, call.input);
    } catch (error) {
      const denied = error instanceof HoldfastError && error.code === "denied";
      return notStarted(denied ? "denied" : "failed", messageOf(error), false);
    }
    const filled = this.#withSecrets(plugin, call, grant);
    if ("kind" in filled) return filled;
    const member = this.#member(plugin, grant);
    if (!member) {
      return notStarted("busy", `${MAX_WORKERS} workers of ${plugin.manifest.name} are at work`);
    }
    const { workerOf } = this.#ports;
    if (!workerOf) return await member.call(filled, signal);
    const facts: AttemptFacts = { worker: workerOf(plugin, grant) };
    const outcome = await member.call({ ...filled, ended: (end) => (facts.ended = end) }, signal);
    return { ...outcome, facts };
  }

  /** The call with its secrets in their places, or why it gets none of them. */
  #withSecrets(plugin: CatalogPlugin, call: WorkerCall, grant: Grant): WorkerCall | AttemptOutcome {
    const { secrets: names = [], namespace = DEFAULT_NAMESPACE } = call;
    if (names.length === 0) return call;
    const { name } = plugin.manifest;
    const refused = names.filter((each) => !fitsAny(each, grant.secrets));
    if (refused.length > 0) {
      const what = `denied: secret ${refused.join(", ")} for plugin ${name}`;
      const message = `${what}: add it to permissions.secrets of its manifest, and to the policy`;
      return notStarted("denied", message, false);
    }
    try {
      if (!this.#ports.secrets) throw new HoldfastError("failed", "this program has no secrets");
      const { secrets: port } = this.#ports;
      return { ...call, held: port.held(call.input), input: port.fill(call.input, names, namespace) };
    } catch (error) {
      return notStarted("secret", messageOf(error), false);
    }
  }

  statuses(): PartStatus[] {
    return [...this.#members.values()].flatMap((members) =>
      [...members.values()].map((member, index) => {
        const status = member.status();
        // Several workers of one plugin differ in their grants; each has a name of its own.
        return index === 0 ? status : { ...status, name: `${status.name}#${index + 1}` };
      }),
    );
  }

  reset(name: string): boolean {
    const members = this.#members.get(name);
    for (const member of members?.values() ?? []) member.reset();
    return members !== undefined;
  }

  stopIdle(): number {
    return this.#all().filter((member) => member.stopIdle()).length;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all().map((member) => member.stop()));
  }

  #member(plugin: CatalogPlugin, grant: Grant): Member | undefined {
    const { name } = plugin.manifest;
    const members = this.#members.get(name) ?? new Map<string, Member>();
    this.#members.set(name, members);
    let key = this.#keys.get(grant);
    if (key === undefined) this.#keys.set(grant, (key = JSON.stringify(grant)));
    const known = members.get(key);
    if (known) return known;
    const resting = [...members].filter(([, member]) => member.resting);
    for (const [old] of resting.slice(0, Math.max(0, resting.length - MAX_RESTING + 1))) members.delete(old);
    if (members.size >= MAX_WORKERS) return undefined;
    const member = this.#make(plugin, grant);
    members.set(key, member);
    return member;
  }

  #make(plugin: CatalogPlugin, grant: Grant): Member {
    const { entry } = plugin;
    if (!("script" in entry)) return new ActionWorker(plugin, grant, this.#ports);
    const { scripts, random, log, idleMs } = this.#ports;
    return new ScriptAction({ plugin, script: entry.script, grant, idleMs }, { ...scripts, random, log });
  }

  #all(): Member[] {
    return [...this.#members.values()].flatMap((members) => [...members.values()]);
  }
}
