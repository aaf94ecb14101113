import { readFileSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import type { Json } from "../../model/json.ts";
import type { KernelCalls } from "./kernel-calls.ts";
import { findProcesses, signalProcesses } from "./processes.ts";
import type { Programs } from "./programs.ts";
import type { Requester } from "./requester.ts";
import { runProgram } from "./run-program.ts";
import { type Need, type Operation, planOperation, VERBS } from "./verbs.ts";

/** Does checked operations in this process's own right. */
export interface Performer {
  /** True when this process may do it itself. */
  may(operation: Operation): boolean;
  /** What would be done, one line each, for simulations and the audit. Throws `failed` where the host lacks the program. */
  describe(operation: Operation, by: Requester): string[];
  /** Throws `timed_out`, `not_found`, `denied`, or `failed` with what the program said. */
  perform(operation: Operation, by: Requester): Promise<Json>;
}

export interface PerformerOptions {
  programs: Programs;
  kernel: KernelCalls;
  clock: Clock;
  /** Processes that get no signal, and nothing below them: the agent with its workers. */
  protectedTrees: (by: Requester) => number[];
  rights: (need: Need) => boolean;
}

export function createPerformer(options: PerformerOptions): Performer {
  const { programs, kernel, clock, protectedTrees, rights } = options;
  return {
    may: (operation) => rights(VERBS[operation.verb]!.needs),
    describe(operation, by) {
      const plan = planOperation(operation, programs, clock);
      if (plan.kind === "programs") return plan.commands.map((argv) => argv.join(" "));
      const { pids } = findProcesses(plan.name, protectedTrees(by));
      const to = pids.length === 0 ? "nobody: there is no such process" : pids.join(", ");
      return [`send SIG${plan.signal} to ${to}`];
    },
    async perform(operation, by) {
      const plan = planOperation(operation, programs, clock);
      if (plan.kind === "signal") {
        return { signalled: signalProcesses(plan.name, plan.signal, protectedTrees(by), kernel) };
      }
      const ends = clock.mono() + VERBS[operation.verb]!.timeoutMs;
      let stdout = "";
      let cut = false;
      for (const argv of plan.commands) {
        const timeoutMs = Math.max(1, Math.round(ends - clock.mono()));
        ({ stdout, cut } = await runProgram(argv, { timeoutMs, clock }));
      }
      const result = plan.read(stdout);
      return cut && isObject(result) ? { ...result, cut: true } : result;
    },
  };
}

function isObject(value: Json): value is { [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

const JOURNAL_GROUPS = ["systemd-journal", "adm"];

/** What this process's user may do by itself. */
export function ownRights(): (need: Need) => boolean {
  const root = process.getuid?.() === 0;
  let journal: boolean | undefined;
  return (need) => {
    if (need === "nothing" || root) return true;
    return need === "journal" && (journal ??= isInGroup(JOURNAL_GROUPS));
  };
}

function isInGroup(names: string[]): boolean {
  const mine = new Set([...(process.getgroups?.() ?? []), process.getgid?.() ?? -1]);
  return groupLines().some(([name, , gid]) => names.includes(name!) && mine.has(Number(gid)));
}

function groupLines(): string[][] {
  try {
    const lines = readFileSync("/etc/group", "utf8").split("\n");
    return lines.filter((line) => line !== "").map((line) => line.split(":"));
  } catch {
    return [];
  }
}
