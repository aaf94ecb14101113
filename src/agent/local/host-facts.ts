import { readFileSync } from "node:fs";
import { arch, cpus, hostname, networkInterfaces, release, totalmem } from "node:os";
import type { HostFacts } from "../../model/agent-status.ts";
import type { Protections } from "../../model/protection.ts";

/** Facts about this host, for hello and status. */
export function hostFacts(version: string, protections: Protections): HostFacts {
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
    protections,
  };
}

function osName(): string {
  try {
    const pretty = /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"));
    return pretty?.[1] ?? process.platform;
  } catch {
    return process.platform;
  }
}
