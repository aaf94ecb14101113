import { readFileSync } from "node:fs";
import { arch, cpus, hostname, networkInterfaces, release, totalmem } from "node:os";
import type { HostFacts } from "../../model/agent-status.ts";

/** Facts about this host, for hello and status. */
export function hostFacts(version: string): HostFacts {
  return {
    hostname: hostname(),
    os: osName(),
    kernel: release(),
    arch: arch(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
    addresses: Object.values(networkInterfaces())
      .flatMap((entries) => entries ?? [])
      .filter((entry) => !entry.internal)
      .map((entry) => entry.address)
      .slice(0, 32),
    version,
    bun: Bun.version,
    protections: protections(),
  };
}

/** The four levels of the sandbox. Kernel confinement is not part of this version: the truth is `missing`. */
function protections(): HostFacts["protections"] {
  const missing = { level: "missing", reason: "this version does not confine workers yet" };
  return { filesystem: missing, network: missing, "system calls": missing, limits: missing };
}

function osName(): string {
  try {
    const pretty = /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"));
    return pretty?.[1] ?? process.platform;
  } catch {
    return process.platform;
  }
}
