import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { LogSink } from "../../core/logger.ts";
import type { CatalogPlugin, Manifest, PluginEntry } from "../../model/plugin.ts";
import type { UpFrame } from "./frames.ts";
import { launchWorker } from "./launch.ts";
import { pluginOutput } from "./plugin-output.ts";
import type { WorkerTiming } from "./timing.ts";
import { Worker } from "./worker.ts";

export interface MakerOptions {
  clock: Clock;
  ids: Ids;
  command: string[];
  /** Folder of the workers' own folders. */
  workdir: string;
  pluginLog: (name: string) => LogSink;
  timing: WorkerTiming;
}

/** Starts workers and loads plugins into them. */
export class WorkerMaker {
  readonly #options: MakerOptions;

  constructor(options: MakerOptions) {
    this.#options = options;
  }

  /** A worker with this plugin loaded. `part` is the trigger, action or output that it works for. */
  async open(
    plugin: CatalogPlugin,
    part: string,
    onFrame: (frame: UpFrame, bytes: number) => void,
    stopping?: AbortSignal,
  ): Promise<Worker> {
    const { kind, name } = plugin.manifest;
    const worker = this.#launch(plugin.entry, name, part, false, onFrame);
    const onStop = () => worker.kill("was stopped while it started");
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

  /** Loads a plugin only to learn what it declares. */
  async describe(entry: PluginEntry): Promise<Manifest> {
    const worker = this.#launch(entry, "describe", "describe", true, () => {
      throw new HoldfastError("invalid", "a frame of work, while it was only to be described");
    });
    try {
      return await worker.load();
    } finally {
      worker.kill("is described");
      await worker.ended;
    }
  }

  #launch(
    entry: PluginEntry,
    plugin: string,
    part: string,
    describe: boolean,
    onFrame: (frame: UpFrame, bytes: number) => void,
  ): Worker {
    const { clock, ids, command, workdir, pluginLog, timing } = this.#options;
    const launched = launchWorker({ command, workdir, label: plugin, ids });
    const output = pluginOutput({ sink: pluginLog(plugin), part, clock });
    return new Worker({ launched, entry, describe, clock, output, timing, onFrame });
  }
}
