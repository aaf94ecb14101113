import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { bareGrant, type Grant } from "../model/grant.ts";
import { DEFAULT_RESOURCES } from "../model/permissions.ts";
import { FrameChannel } from "../agent/workers/channel.ts";
import { type BrokerOptions, createBroker } from "../agent/workers/network/broker.ts";
import {
  type HandedSockets,
  openWorkerNetwork,
  type WorkerNetwork,
} from "../agent/workers/network/worker-network.ts";
import type { KernelFacts } from "../agent/workers/sandbox/kernel-facts.ts";
import type { LaunchPolicy } from "../agent/workers/sandbox/launch-policy.ts";
import { launchPrefix, planLaunch } from "../agent/workers/sandbox/plan-launch.ts";
import { openPolicy, testCommand } from "./stage-one-rig.ts";

/** A kernel with everything, but for what a test takes away. */
export function kernelFacts(part: Partial<KernelFacts> = {}): KernelFacts {
  return {
    kernel: "6.12",
    arch: "x64",
    root: false,
    landlockAbi: 6,
    seccomp: true,
    mountNamespace: true,
    netNamespace: true,
    cgroup: { kind: "none", reason: "a test" },
    reasons: {},
    ...part,
  };
}

export function networkGrant(part: Partial<Grant>): Grant {
  return { ...bareGrant(DEFAULT_RESOURCES), ...part };
}

export function testBroker(part: Partial<BrokerOptions> = {}) {
  return createBroker({
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    ownListeners: () => [],
    ...part,
  });
}

export interface NetworkWorkerOptions {
  grant: Grant;
  command: string[];
  kernel?: KernelFacts;
  /** In front of stage 1, for another user. */
  prefix?: string[];
  broker?: Partial<BrokerOptions>;
  /** Confined in everything, as the agent does it on a host with this kernel. */
  confined?: boolean;
}

export interface NetworkWorker {
  pid: number;
  denied: string[];
  /** Resolves with what it printed when it has ended and its network is closed. */
  ended: Promise<{ out: string; err: string; code: number | null }>;
  kill(): void;
}

/** Starts a program through stage 1 with the network of this grant; `confined` adds the rest of the sandbox. */
export async function startNetworkWorker(options: NetworkWorkerOptions): Promise<NetworkWorker> {
  const { grant, command, kernel = kernelFacts() } = options;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-network-"));
  chmodSync(folder, 0o755);
  const denied: string[] = [];
  const network = await openWorkerNetwork({
    grant,
    kernel,
    broker: testBroker(options.broker),
    folder,
    kind: "script",
    onDenied: (what) => denied.push(what),
  });
  const env = { PATH: "/usr/bin:/bin", HOME: folder, ...network.env };
  const policy = options.confined
    ? planLaunch({
        grant,
        kernel,
        worker: { kind: "script", program: command[0]!, argv: command, env, cwd: folder, folder, code: [] },
        network: network.launch,
      })
    : { ...openPolicy(command, { keepFds: 3, ...bareNetwork(network.launch, folder) }), env };
  // Only root has the right to make namespaces without one of users around them.
  const prefix = options.prefix ?? launchPrefix({ root: process.getuid!() === 0 }, policy);
  const child = Bun.spawn([...prefix, ...testCommand(), "__launch"], {
    cwd: "/",
    env: { PATH: "/usr/bin:/bin", HOME: "/" },
    stdio: ["ignore", "pipe", "pipe", "socket-fd"] as unknown as ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const channel = await FrameChannel.open((child.stdio as unknown as number[])[3]!, {
    frame: (value) => {
      const frame = value as { kind: string; message?: string } & HandedSockets;
      if (frame.kind !== "sockets") return denied.push(`stage 1: ${frame.message}`);
      network.adopt(child.pid, frame).then(
        () => channel.send(JSON.stringify({ kind: "go" })),
        (error) => channel.close(String(error)),
      );
    },
    closed: (reason) => reason !== null && denied.push(`channel: ${reason}`),
  });
  channel.send(JSON.stringify(policy));
  const ended = Promise.all([child.stdout.text(), child.stderr.text(), child.exited]).then(
    async ([out, err, code]) => {
      channel.close();
      await network.close();
      rmSync(folder, { recursive: true, force: true });
      return { out, err, code };
    },
  );
  return { pid: child.pid, denied, ended, kill: () => process.kill(-child.pid, "SIGKILL") };
}

function bareNetwork({ net, replaced = [] }: WorkerNetwork["launch"], folder: string): Partial<LaunchPolicy> {
  return {
    ...(net ? { net } : {}),
    ...(replaced.length > 0 ? { mount: { writable: [folder], hidden: [], replaced } } : {}),
  };
}
