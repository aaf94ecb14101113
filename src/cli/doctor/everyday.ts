import type { KernelFacts } from "../../agent/workers/sandbox/kernel-facts.ts";
import type { EverydayGap } from "./report.ts";

/** They change modes, owners, times or process groups, or make a FIFO: see `fileModes` of the system call filter. */
export const NEEDS_FILE_MODES = [
  "chmod",
  "cp -a",
  "cp -p",
  "git init",
  "gzip",
  "install",
  "logrotate",
  "mkfifo",
  "patch",
  "python3 tempfile",
  "rsync -a",
  "setsid",
  "tar gzip",
  "tar x",
  "timeout",
  "touch",
];

/** What the table of everyday commands (test/sandbox) cannot do on a host with these facts. */
export function everydayGaps(facts: KernelFacts): EverydayGap[] {
  const gaps: EverydayGap[] = [];
  if (facts.seccomp && !facts.mountNamespace) {
    gaps.push({
      commands: NEEDS_FILE_MODES,
      reason: `what they change could also be changed outside a worker's folder, for want of a mount namespace of its own${because(facts.reasons.mountNamespace)}`,
    });
  }
  if (facts.seccomp && !facts.netNamespace) {
    const proxied = facts.landlockAbi >= 4;
    gaps.push({
      commands: proxied ? ["ssh", "nc", "getent hosts"] : ["curl", "wget", "git fetch", "ssh", "nc"],
      reason: proxied
        ? `without a network namespace of its own, only programs that use HTTPS_PROXY or ALL_PROXY reach the hosts that were granted${because(facts.reasons.netNamespace)}`
        : `a script gets no network without a network namespace of its own or Landlock of Linux 6.7; TypeScript plugins do, through the agent${because(facts.reasons.netNamespace)}`,
    });
  }
  if (facts.landlockAbi > 0) {
    gaps.push({ commands: ["ps"], reason: "a worker sees nothing of other processes in /proc" });
  }
  return gaps;
}

function because(reason: string | undefined): string {
  return reason === undefined ? "" : ` (${reason})`;
}
