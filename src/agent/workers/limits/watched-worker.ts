import type { Peak, WorkerUse } from "../../../model/worker-end.ts";
import { memoryAllowance } from "./allowance.ts";
import type { LeafUse } from "./cgroup.ts";
import { CpuGovernor } from "./cpu-governor.ts";
import { DiskWatch } from "./disk-watch.ts";
import { Family, type FamilySample } from "./family.ts";
import { formatBytes } from "./format-bytes.ts";
import { MemoryWatch } from "./memory-watch.ts";
import type { Hit, WatchSpec } from "./watch-spec.ts";

/** Until the next look at a worker that has done nothing at all since the last. */
const IDLE_MS = 500;
/** For a worker of which the kernel holds everything but the disk. */
const MEASURE_MS = 1_000;

interface Use {
  memoryBytes: number;
  cpuMs: number;
  processes: number;
}

/** What is looked at in one worker, and what follows. */
export class WatchedWorker {
  hit: Hit | null = null;
  /** Most that one process of it was seen to have open. */
  openFiles = 0;
  readonly #spec: WatchSpec;
  readonly #mono: () => number;
  /** undefined when it was gone before it could be looked at. */
  readonly #family: Family | undefined;
  readonly #governor: CpuGovernor | undefined;
  readonly #memory: MemoryWatch;
  readonly #disk: DiskWatch;
  readonly #heldByKernel: { memory: boolean; pids: boolean; everything: boolean };
  #peak = { memoryBytes: 0, cpuMs: 0, processes: 0 };
  #sample: FamilySample | undefined;
  #last: Use | null = null;
  #over = false;

  constructor(spec: WatchSpec, mono: () => number, buffer: Buffer) {
    const { resources, leaf, confined, pid } = spec;
    const has = (name: "memory" | "pids" | "cpu") => leaf?.controllers.includes(name) ?? false;
    this.#spec = spec;
    this.#mono = mono;
    this.#heldByKernel = {
      memory: has("memory"),
      pids: has("pids"),
      everything: has("memory") && has("pids") && has("cpu"),
    };
    this.#family = openFamily(pid, spec.alone ?? false, buffer);
    this.#governor = confined && !has("cpu") ? new CpuGovernor(resources.cpu) : undefined;
    this.#memory = new MemoryWatch(resources.memory);
    this.#disk = new DiskWatch({
      folder: spec.folder,
      limitBytes: resources.disk,
      mono,
      pids: () => this.pids(),
    });
  }

  /** Milliseconds until the next look; null when there is nothing to look at any more. */
  look(): number | null {
    if (this.#over) return null;
    const now = this.#mono();
    const use = this.#measure(now);
    if (use === null) return null;
    this.#note(use);
    if (!this.#spec.confined) return MEASURE_MS;
    const idle = use === this.#last && !this.#governor?.stopped;
    if (!idle) this.openFiles = Math.max(this.openFiles, this.#family?.openFiles() ?? 0);
    this.#last = use;
    const waits = [this.#holdMemory(now, use), this.#holdCpu(now, use), this.#holdDisk(now, use)];
    this.#holdProcesses(use);
    if (this.hit) return null;
    // A fresh one may be resting because others work for it; a folder that is being counted is counted to its end.
    const rests = idle && !this.#memory.isFresh(now) && !this.#disk.counting;
    return rests ? IDLE_MS : Math.min(...waits);
  }

  peak(): Peak {
    return { ...this.#peak, diskBytes: Math.round(this.#disk.peakBytes) };
  }

  use(): WorkerUse {
    if (this.#over) return { memoryBytes: 0, cpuMs: 0 };
    const { leaf } = this.#spec;
    const memoryBytes = leaf && this.#heldByKernel.memory ? leaf.memoryBytes() : this.#family?.memoryBytes();
    return { memoryBytes: memoryBytes ?? 0, cpuMs: this.#last?.cpuMs ?? 0 };
  }

  forgivenMs(): number {
    return this.#governor?.forgivenMs ?? 0;
  }

  throttledMs(): number {
    return this.#governor?.throttledMs(this.#mono()) ?? 0;
  }

  pids(): number[] {
    return this.#family?.pids() ?? [];
  }

  stop(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#governor?.stopped) this.#family?.signal("SIGCONT");
    if (this.#spec.leaf) this.#note(this.#spec.leaf.read());
    else this.#noteFamily();
    this.#disk.finish();
    this.#family?.close();
  }

  #noteFamily(): void {
    const sample = this.#family?.sample(this.#mono());
    if (sample) this.#note(this.#useOf(sample));
  }

  #measure(now: number): Use | null {
    if (this.#spec.leaf && this.#heldByKernel.everything) return this.#spec.leaf.read();
    const sample = this.#family?.sample(now) ?? null;
    if (sample === null || sample === this.#sample) return sample && this.#last;
    this.#sample = sample;
    return this.#useOf(sample);
  }

  #useOf(sample: FamilySample): Use {
    const memoryBytes = Math.max(0, sample.memoryBytes - memoryAllowance(this.#spec.host));
    return { memoryBytes, cpuMs: sample.cpuMs, processes: sample.processes };
  }

  #note(use: Use | LeafUse): void {
    for (const key of ["memoryBytes", "cpuMs", "processes"] as const) {
      this.#peak[key] = Math.max(this.#peak[key], Math.round(use[key]));
    }
  }

  #holdMemory(now: number, use: Use): number {
    if (this.#heldByKernel.memory) return MEASURE_MS;
    const { over, nextMs } = this.#memory.step(now, use.memoryBytes);
    if (!over) return nextMs;
    const used = this.#exactMemory(use);
    const allowed = this.#spec.resources.memory;
    if (used > allowed) {
      this.#pass("memory", `memory: ${formatBytes(used)} used, ${formatBytes(allowed)} allowed`);
    }
    return nextMs;
  }

  /** What several processes share counts once, before somebody is killed for them. */
  #exactMemory(use: Use): number {
    if (use.processes < 2) return use.memoryBytes;
    const empty = memoryAllowance(this.#spec.host);
    const limit = this.#spec.resources.memory + empty;
    return Math.max(0, this.#family!.exactMemoryBytes(limit, this.#governor?.stopped ?? false) - empty);
  }

  #holdCpu(now: number, use: Use): number {
    if (!this.#governor) return MEASURE_MS;
    const { signal, nextMs } = this.#governor.step(now, use.cpuMs);
    if (signal) this.#family?.signal(signal);
    return nextMs;
  }

  #holdDisk(now: number, use: Use): number {
    const { over, nextMs } = this.#disk.step(now, use.cpuMs);
    const { bytes, files } = this.#disk.last;
    const allowed = formatBytes(this.#spec.resources.disk);
    if (over) this.#pass("disk", `disk: ${formatBytes(bytes)} in ${files} files, ${allowed} allowed`);
    return nextMs;
  }

  /** Where the kernel counts them, a fork fails instead. */
  #holdProcesses({ processes }: Use): void {
    const allowed = this.#spec.resources.processes;
    if (this.#heldByKernel.pids || processes <= allowed) return;
    this.#pass("denied", `denied: ${processes} processes at once, ${allowed} allowed`);
  }

  #pass(cause: Hit["cause"], text: string): void {
    if (this.hit) return;
    this.hit = { cause, text };
    this.#spec.kill();
  }
}

function openFamily(pid: number, alone: boolean, buffer: Buffer): Family | undefined {
  try {
    return new Family({ pid, alone, buffer });
  } catch {
    return undefined;
  }
}
