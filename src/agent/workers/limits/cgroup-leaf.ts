import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../../core/clock.ts";
import { HoldfastError, messageOf, systemCode } from "../../../core/errors.ts";
import type { Resources } from "../../../model/permissions.ts";
import { HOST_THREADS, memoryAllowance } from "./allowance.ts";
import type { Controller } from "./cgroup-facts.ts";

const CPU_PERIOD_US = 100_000;
const REMOVE_WAIT_MS = 5_000;
const REMOVE_POLL_MS = 5;

export interface LeafUse {
  /** Anonymous memory above what an empty host needs. */
  memoryBytes: number;
  cpuMs: number;
  processes: number;
  oomKills: number;
  /** Processes and threads that were not started, because there were as many as are allowed. */
  forksRefused: number;
}

export interface LeafOptions {
  folder: string;
  resources: Resources;
  host: boolean;
  controllers: readonly Controller[];
  clock: Clock;
}

/** The control group of one worker. */
export class CgroupLeaf {
  readonly folder: string;
  /** Which limits the kernel holds; the others are watched. */
  readonly controllers: readonly Controller[];
  readonly #clock: Clock;
  readonly #host: boolean;

  private constructor(folder: string, host: boolean, controllers: readonly Controller[], clock: Clock) {
    this.folder = folder;
    this.controllers = controllers;
    this.#clock = clock;
    this.#host = host;
  }

  /** Throws, with nothing left behind, when a limit cannot be set. */
  static make({ folder, resources, host, controllers, clock }: LeafOptions): CgroupLeaf {
    mkdirSync(folder);
    const leaf = new CgroupLeaf(folder, host, controllers, clock);
    try {
      for (const [file, value] of limitFiles(resources, host, controllers)) leaf.#write(file, value);
      return leaf;
    } catch (error) {
      rmdirSync(folder);
      throw new HoldfastError("failed", `cannot set the limits of ${folder}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** One that is there already. */
  static at(folder: string, clock: Clock, controllers: readonly Controller[] = []): CgroupLeaf {
    return new CgroupLeaf(folder, false, controllers, clock);
  }

  read(): LeafUse {
    const memory = this.controllers.includes("memory");
    return {
      memoryBytes: memory
        ? Math.max(0, this.#number("memory.stat", /^anon (\d+)/m) - memoryAllowance(this.#host))
        : 0,
      cpuMs: this.#number("cpu.stat", /^usage_usec (\d+)/m) / 1000,
      processes: this.#pids().length,
      oomKills: memory ? this.#number("memory.events", /^oom_kill (\d+)/m) : 0,
      forksRefused: this.controllers.includes("pids") ? this.#number("pids.events", /^max (\d+)/m) : 0,
    };
  }

  /** Memory of all in it that is no file's. */
  memoryBytes(): number {
    return this.#number("memory.stat", /^anon (\d+)/m) + this.#number("memory.stat", /^shmem (\d+)/m);
  }

  /** Kills everything in it, at once. False when the kernel could not be told so: then those found were killed one by one. */
  kill(): boolean {
    try {
      // Before 5.14 it is not there. It may be written only, not read.
      writeExisting(join(this.folder, "cgroup.kill"), "1");
      return true;
    } catch {
      for (const pid of this.#pids()) killOne(pid);
      return false;
    }
  }

  /** Kills what is left in it, waits until it is empty and removes it. Never throws; a leaf that stays is removed at the next start. */
  async remove(): Promise<void> {
    const deadline = this.#clock.mono() + REMOVE_WAIT_MS;
    while (this.#clock.mono() < deadline) {
      if (this.#populated()) this.kill();
      else if (this.#removeTree()) return;
      await this.#clock.sleep(REMOVE_POLL_MS);
    }
  }

  #populated(): boolean {
    return this.#number("cgroup.events", /^populated (\d)/m) === 1;
  }

  /** Inner groups first: a worker that may write to its own group could have made some. */
  #removeTree(): boolean {
    try {
      for (const folder of [...innerFolders(this.folder)].reverse()) rmdirSync(folder);
      rmdirSync(this.folder);
      return true;
    } catch (error) {
      return systemCode(error) === "ENOENT";
    }
  }

  #pids(): number[] {
    return this.#text("cgroup.procs").split("\n").filter(Boolean).map(Number);
  }

  #number(file: string, pattern: RegExp): number {
    return Number(pattern.exec(this.#text(file))?.[1] ?? 0);
  }

  #text(file: string): string {
    try {
      return readFileSync(join(this.folder, file), "latin1");
    } catch {
      return "";
    }
  }

  #write(file: string, value: string): void {
    try {
      writeExisting(join(this.folder, file), value);
    } catch (error) {
      // Kernels without swap accounting or without group kills lack the file; the limit itself is there.
      const optional = file === "memory.swap.max" || file === "memory.oom.group";
      if (!optional || systemCode(error) !== "ENOENT") throw error;
    }
  }
}

/** What is written where, in order. */
export function limitFiles(
  resources: Resources,
  host: boolean,
  controllers: readonly Controller[],
): [file: string, value: string][] {
  const quota = Math.max(1000, Math.round(resources.cpu * CPU_PERIOD_US));
  const files: [Controller, string, string][] = [
    ["memory", "memory.max", String(resources.memory + memoryAllowance(host))],
    ["memory", "memory.swap.max", "0"],
    ["memory", "memory.oom.group", "1"],
    ["pids", "pids.max", String(resources.processes + (host ? HOST_THREADS : 0))],
    ["cpu", "cpu.max", `${quota} ${CPU_PERIOD_US}`],
  ];
  return files
    .filter(([controller]) => controllers.includes(controller))
    .map(([, file, value]) => [file, value]);
}

function* innerFolders(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    yield path;
    yield* innerFolders(path);
  }
}

/** Only the kernel makes files there: one that is missing must not be made by the write. */
function writeExisting(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

function killOne(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}
