import type { Resources } from "../../../model/permissions.ts";
import type { EndCause, Peak, Verdict } from "../../../model/worker-end.ts";
import { formatBytes } from "./format-bytes.ts";

export interface Ending {
  exit: { code: number | null; signal: string | null };
  /** The limit for which the agent killed it. */
  hit: { cause: EndCause; text: string } | null;
  /** Kills by the kernel for the memory of its control group. */
  oomKills: number;
  /** Processes and threads that the kernel did not start, for their number in its control group. */
  forksRefused?: number;
  /** The most that was seen. */
  peak: Peak;
  /** What the kernel counted for the process that was waited for, with what it waited for. */
  usage?: { cpuMs: number };
  resources: Resources;
  /** Each refusal by the agent, like `network example.org:443`. */
  denials: readonly string[];
  /** Why the agent ended it, where no limit was passed. */
  killedBecause?: string;
  /** The worker reported that it could open no more files. */
  tooManyFiles?: boolean;
  /** Most that one of its processes was seen to have open. */
  openFiles?: number;
  /** Ran the JavaScript engine; else it was a script. */
  host: boolean;
}

/** How engines and allocators end that get no more memory. */
const MEMORY_SIGNALS = ["SIGSEGV", "SIGABRT", "SIGTRAP", "SIGILL", "SIGBUS", "SIGKILL"];
/** Of the limit, for a death by one of these signals to be put down to memory. */
const NEAR = 0.8;
/** Of the limit, for an exit with an error: many programs end so for other reasons. */
const VERY_NEAR = 0.95;
/** A shell says in its exit code by which signal its command was killed. */
const SHELL_SIGNALS: Record<number, string> = {
  132: "SIGILL",
  133: "SIGTRAP",
  134: "SIGABRT",
  135: "SIGBUS",
  137: "SIGKILL",
  139: "SIGSEGV",
  152: "SIGXCPU",
  153: "SIGXFSZ",
};
/** Of the processor time: what was used last may not have been seen. */
const CPU_NEAR = 0.9;

/**
 * What ended a worker. Evidence in order of its certainty: the kernel's own count of memory kills, the limit for which the
 * agent killed it, the signal, the most that was used. What the worker printed is no evidence.
 */
export function verdictOf(ending: Ending): Verdict {
  const peak = { ...ending.peak, cpuMs: Math.max(ending.peak.cpuMs, ending.usage?.cpuMs ?? 0) };
  return { ...causeOf({ ...ending, peak }), peak };
}

function causeOf(ending: Ending): { cause: EndCause; text: string } {
  const { exit, hit, oomKills, denials, killedBecause, resources } = ending;
  if (oomKills > 0) return memory(ending);
  if (hit) return { cause: hit.cause, text: hit.text };
  if (killedBecause !== undefined) return { cause: "exited", text: killedBecause };
  const limit = byLimitSignal(ending);
  if (limit) return limit;
  if (exit.code === 0) return { cause: "exited", text: "exited(0)" };
  if ((ending.forksRefused ?? 0) > 0) return tooManyProcesses(ending);
  if (isOutOfMemory(ending)) return memory(ending);
  if (exit.signal === "SIGSYS") return { cause: "denied", text: "denied: a system call" };
  if (denials.length > 0) return { cause: "denied", text: `denied: ${denials[0]}` };
  if (ending.tooManyFiles || (ending.openFiles ?? 0) >= resources.openFiles * VERY_NEAR) {
    return { cause: "files", text: `files: ${resources.openFiles} open at once are allowed` };
  }
  if (exit.signal !== null) return { cause: "crashed", text: `crashed(${exit.signal})` };
  return { cause: "exited", text: `exited(${exit.code})` };
}

/** Of resource limits that the kernel sets on each process. */
function byLimitSignal(ending: Ending): { cause: EndCause; text: string } | null {
  const { resources, peak } = ending;
  const signal = signalOf(ending);
  const { cpuTime } = resources;
  // At its hard limit a process is killed without a word: then the time that was used must bear it out.
  const spent = cpuTime !== null && peak.cpuMs >= cpuTime * CPU_NEAR;
  if (ending.exit.signal === "SIGXCPU" || (spent && (signal === "SIGXCPU" || signal === "SIGKILL"))) {
    if (cpuTime === null) return { cause: "cpu", text: "cpu: its processor time is used up" };
    return {
      cause: "cpu",
      text: `cpu: ${seconds(Math.max(peak.cpuMs, cpuTime))} used, ${seconds(cpuTime)} allowed`,
    };
  }
  // A script's word that its command was killed counts where what it wrote bears it out.
  const bigFile = peak.diskBytes >= resources.fileSize * NEAR;
  if (ending.exit.signal === "SIGXFSZ" || (signal === "SIGXFSZ" && bigFile)) {
    return {
      cause: "files",
      text: `files: a file of ${formatBytes(resources.fileSize)} is the largest allowed`,
    };
  }
  return null;
}

function isOutOfMemory(ending: Ending): boolean {
  const used = ending.peak.memoryBytes / ending.resources.memory;
  const signal = signalOf(ending);
  if (signal !== null) return MEMORY_SIGNALS.includes(signal) && used >= NEAR;
  return used >= VERY_NEAR;
}

/** An engine that gets no thread aborts; a shell that gets no process ends with an error. */
function tooManyProcesses({ resources, host }: Ending): { cause: EndCause; text: string } {
  const what = host ? "processes and threads" : "processes";
  return { cause: "denied", text: `denied: more than ${resources.processes} ${what} at once` };
}

function signalOf({ exit, host }: Ending): string | null {
  if (exit.signal !== null) return exit.signal;
  return (!host && exit.code !== null && SHELL_SIGNALS[exit.code]) || null;
}

function memory({ peak, resources }: Ending): { cause: EndCause; text: string } {
  const used = Math.max(peak.memoryBytes, 0);
  // A sample is taken a little before the end: what was seen may be less than what was asked for.
  const seen =
    used >= resources.memory ? `${formatBytes(used)} used` : `${formatBytes(used)} used and more asked for`;
  return { cause: "memory", text: `memory: ${seen}, ${formatBytes(resources.memory)} allowed` };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
