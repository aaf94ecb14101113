import { dirname } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { LogSink } from "../../core/logger.ts";
import { bareGrant, type Grant, type GrantDecision } from "../../model/grant.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import { DEFAULT_RESOURCES } from "../../model/permissions.ts";
import type { CatalogPlugin, Manifest, PluginEntry } from "../../model/plugin.ts";
import type { UpFrame } from "./frames.ts";
import { lazySession, type MemoryPort, type MemorySessionPort } from "./memory-port.ts";
import type { Launcher } from "./launch.ts";
import { type CallMark, pluginOutput } from "./plugin-output.ts";
import type { Masking } from "./secret-port.ts";
import type { WorkerTiming } from "./timing.ts";
import { Worker, type WorkerEnd } from "./worker.ts";

/** Decides what a plugin gets with these settings. */
export type GrantFor = (plugin: CatalogPlugin, settings: JsonObject) => GrantDecision;

/** Does for a plugin what it must not do itself, after a check against its grant and the policy. */
export type HostOperation = (request: {
  by: { plugin: string; part: string };
  grant: Grant;
  operation: string;
  arguments: JsonObject;
}) => Promise<Json>;

export interface MakerOptions {
  clock: Clock;
  launcher: Launcher;
  grantFor: GrantFor;
  pluginLog: (name: string) => LogSink;
  timing: WorkerTiming;
  hostOperation: HostOperation;
  /** Without it nothing is remembered. */
  memory: MemoryPort | undefined;
  masking: Masking;
  onEnd: (plugin: string, end: WorkerEnd) => void;
}

/** Answers what a plugin asks of the memory; `call` is the number of the call that asks, if one does. */
type OnMemory = (call: number | null, request: MemoryRequest) => Promise<Json>;

/** What a worker of an action asks of whoever gave it its calls. */
interface AskedOfCalls {
  onMemory?: OnMemory;
  callOf?: (call: number) => CallMark | undefined;
}

/** Entry files that have a folder of their own around them; any other file stands alone. */
const FOLDER_ENTRY = /\/(plugin|index)\.(ts|js|mjs)$/;

/** Starts workers and loads plugins into them. */
export class WorkerMaker {
  readonly #options: MakerOptions;

  constructor(options: MakerOptions) {
    this.#options = options;
  }

  /** What the plugin gets. Throws `denied` with every reason when it gets nothing. */
  grant(plugin: CatalogPlugin, settings: JsonObject): Grant {
    const decision = this.#options.grantFor(plugin, settings);
    if (decision.kind === "granted") return decision.grant;
    const { reasons } = decision;
    throw new HoldfastError("denied", `not started: ${reasons.join("; ")}`, { details: { reasons } });
  }

  /** A worker with this plugin loaded. `part` is the trigger, action or output that it works for. */
  async open(
    plugin: CatalogPlugin,
    part: string,
    grant: Grant,
    onFrame: (frame: UpFrame, bytes: number) => void,
    stopping?: AbortSignal,
    asked: AskedOfCalls = {},
  ): Promise<Worker> {
    const { kind, name } = plugin.manifest;
    const worker = await this.#launch({
      entry: plugin.entry,
      kind,
      plugin: name,
      part,
      grant,
      describe: false,
      onFrame,
      ...asked,
    });
    const onStop = () => worker.kill("was stopped while it started");
    if (stopping?.aborted) onStop();
    stopping?.addEventListener("abort", onStop, { once: true });
    try {
      const manifest = await worker.load();
      if (manifest.kind === kind && manifest.name === name) return worker;
      worker.kill("changed");
      throw new HoldfastError(
        "conflict",
        `its file now holds ${manifest.kind} ${manifest.name}: reload the configuration`,
      );
    } catch (error) {
      throw new HoldfastError("failed", `plugin ${name}: ${messageOf(error)}`, { cause: error });
    } finally {
      stopping?.removeEventListener("abort", onStop);
    }
  }

  /** The memory for one call of an action. */
  memory(plugin: string, grant: Grant, namespace: string | undefined): MemorySessionPort {
    return lazySession(this.#options.memory, { plugin, grant, namespace, part: `action/${plugin}` });
  }

  /** Loads a plugin only to learn what it declares; it may do nothing but compute. */
  async describe(entry: PluginEntry): Promise<Manifest> {
    const worker = await this.#launch({
      entry,
      kind: "describe",
      plugin: "describe",
      part: "describe",
      grant: bareGrant(DEFAULT_RESOURCES),
      describe: true,
      onFrame: () => {
        throw new HoldfastError("invalid", "a frame of work, while it was only to be described");
      },
      onMemory: async () => {
        throw new HoldfastError("denied", "denied: memory, while it is only described");
      },
    });
    try {
      return await worker.load();
    } finally {
      worker.kill("is described");
      await worker.ended;
    }
  }

  async #launch(
    what: {
      entry: PluginEntry;
      kind: string;
      plugin: string;
      part: string;
      grant: Grant;
      describe: boolean;
      onFrame: (frame: UpFrame, bytes: number) => void;
    } & AskedOfCalls,
  ): Promise<Worker> {
    const { entry, plugin, part, grant, describe, onFrame } = what;
    const { clock, launcher, pluginLog, timing, hostOperation, onEnd } = this.#options;
    const launched = await launcher.launch({
      kind: "host",
      command: [],
      grant,
      label: plugin,
      code: "file" in entry ? [FOLDER_ENTRY.test(entry.file) ? dirname(entry.file) : entry.file] : [],
      env: {},
      stdin: "ignore",
    });
    const output = pluginOutput({
      sink: pluginLog(plugin),
      part,
      clock,
      limit: {
        maxBytes: grant.resources.output,
        tooMuch: (text) => launched.kill({ cause: "output", text }),
      },
    });
    const onHost = (operation: string, args: JsonObject) =>
      hostOperation({ by: { plugin, part }, grant, operation, arguments: args });
    const own = lazySession(this.#options.memory, { plugin, grant, part: `${what.kind}/${part}` });
    const onMemory: OnMemory = what.onMemory ?? ((_call, request) => own.ask(request));
    const worker = new Worker({
      ...{ launched, entry, describe, clock, output, timing, onFrame, onHost, onMemory, callOf: what.callOf },
      masking: this.#options.masking,
    });
    void worker.ended.then(() => own.close());
    if (!describe) void worker.ended.then((end) => onEnd(plugin, end));
    return worker;
  }
}
