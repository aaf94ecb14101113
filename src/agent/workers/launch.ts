import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { Grant } from "../../model/grant.ts";
import type { EndCause, Peak, Verdict, WorkerUse } from "../../model/worker-end.ts";
import type { Cgroup, CgroupLeaf } from "./limits/cgroup.ts";
import type { LaunchAhead } from "./launch-ahead.ts";
import { discardStage, sendPolicy, type Stage, startStage } from "./launch-stage.ts";
import { killAll } from "./limits/kill-all.ts";
import type { LimitWatcher } from "./limits/limit-watch.ts";
import { readStat } from "./limits/proc-stat.ts";
import { verdictOf } from "./limits/verdict.ts";
import type { ChannelNetwork } from "./network/channel-network.ts";
import { type HandedSockets, openWorkerNetwork, type WorkerNetwork } from "./network/worker-network.ts";
import type { Broker } from "./network/broker.ts";
import { makeOwnFolder } from "./own-folder.ts";
import { type OwnUser, ownUser } from "./own-user.ts";
import type { KernelFacts } from "./sandbox/kernel-facts.ts";
import type { LaunchPolicy } from "./sandbox/launch-policy.ts";
import { launchPrefix, planLaunch, SMALL_ENGINE } from "./sandbox/plan-launch.ts";
import { callProgram } from "./scripts/call-program.ts";
import type { ScriptStdin } from "./scripts/ports.ts";
import type { ScriptPipes } from "./scripts/script-pipes.ts";
import { makeSecretFiles, type SecretFiles } from "./secret-files.ts";
import type { SelfCommand } from "./self-command.ts";

export interface LaunchSpec {
  /** `host`: this program as a plugin host; `script`: the program in `command`. */
  kind: "host" | "script";
  /** Absolute program and its arguments, for a script. */
  command: string[];
  grant: Grant;
  /** For the folder's name, so that a person finds it. */
  label: string;
  /** Files and folders of the plugin's own code. */
  code: string[];
  /** Beside what every worker's environment holds. */
  env: Record<string, string>;
  /** Its own folder when absent. */
  cwd?: string;
  stdin: "ignore" | "pipe";
  /** Texts for files of its own (0400), by the variable that says where each is. */
  secretFiles?: Record<string, string>;
  /** A script's way to talk back: it has a second channel on descriptor 4. */
  calls?: boolean;
}

export interface WorkerExit {
  code: number | null;
  signal: string | null;
  verdict: Verdict;
}

/** `cause` where a limit was passed. */
export interface KillReason {
  cause?: EndCause;
  text: string;
}

export type WorkerPipe = ReadableStream<Uint8Array<ArrayBuffer>>;

export interface Launched {
  pid: number;
  /** The worker's own folder. */
  folder: string;
  /** The agent's end of the channel; whoever adopts it closes it. */
  channelFd: number;
  /** The agent's end of the second channel, where one was asked for; whoever adopts it closes it. */
  callFd: number | null;
  stdin: ScriptStdin | null;
  stdout: WorkerPipe;
  stderr: WorkerPipe;
  /** Sockets of its own network are handed over by a frame before it goes on, and answered with a frame `go`. */
  awaitsSockets: boolean;
  adoptSockets(sockets: HandedSockets): Promise<void>;
  /** Connections over the channel, where the kernel allows no better way. */
  channelNetwork: ChannelNetwork | null;
  /** Milliseconds for which it was stopped to hold its share of the processor. */
  throttledMs(): number;
  /** Most that was used so far. */
  peak(): Peak;
  /** What is used now. */
  use(): WorkerUse;
  /** Each refusal by the agent so far, like `network example.org:443`. */
  denials(): readonly string[];
  noteDenial(what: string): void;
  /** It says that it could open no more files. */
  noteTooManyFiles(): void;
  /** Resolves when everything of it is gone: processes, folder, group. */
  exited: Promise<WorkerExit>;
  /** Ends it and all that it started. The first reason given is the verdict's. */
  kill(why?: KillReason): void;
}

export interface LauncherOptions {
  self: SelfCommand;
  kernel: KernelFacts;
  cgroup: Cgroup | null;
  watcher: LimitWatcher;
  broker: Broker;
  openPipes: () => ScriptPipes;
  /** Has a stage 1 waiting for the next script. Without it each is started when it is needed. */
  ahead?: LaunchAhead;
  /** Folder (tmp/workdir) in which each worker gets a fresh one of its own. */
  workdir: string;
  /** Variables of the agent's environment, from which those in a grant's `env` are taken. */
  env: Record<string, string | undefined>;
  clock: Clock;
  ids: Ids;
  log: Logger;
}

export interface Launcher {
  launch(spec: LaunchSpec): Promise<Launched>;
}

interface Spawned {
  stage: Stage;
  prefix: string[];
}

const MAX_DENIALS = 20;
const BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Starts workers, each confined to its grant before the first line of its code is loaded. */
export function createLauncher(options: LauncherOptions): Launcher {
  return { launch: (spec) => new Launch(options, spec).start() };
}

/** One worker, from its folder to its end. */
class Launch {
  readonly #options: LauncherOptions;
  readonly #spec: LaunchSpec;
  readonly #denials: string[] = [];
  #killedFor: KillReason | undefined;
  #tooManyFiles = false;
  #cleanUp: (() => unknown)[] = [];

  constructor(options: LauncherOptions, spec: LaunchSpec) {
    this.#options = options;
    this.#spec = spec;
  }

  async start(): Promise<Launched> {
    try {
      return await this.#start();
    } catch (error) {
      await this.#unwind();
      const [program] = this.#command();
      throw new HoldfastError("failed", `cannot start a worker (${program}): ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async #start(): Promise<Launched> {
    const { cgroup, ids, workdir, broker, kernel, self } = this.#options;
    const { grant, label, kind, code, calls = false } = this.#spec;
    const reach = [
      workdir,
      this.#command()[0]!,
      ...code,
      ...(kind === "host" || calls ? self.code.filter(existsSync) : []),
      ...(calls ? [self.command[0]!] : []),
    ];
    const user = ownUser({ root: kernel.root, grant, reach, ids });
    const folder = makeOwnFolder(workdir, label, ids, user);
    this.#cleanUp.push(() => folder.remove());
    const secrets = this.#secretFiles(workdir, folder.path, user);
    const leaf =
      grant.sandbox === "on" && cgroup
        ? await cgroup.leaf(folder.path.split("/").at(-1)!, grant.resources, kind === "host")
        : null;
    if (leaf) this.#cleanUp.push(() => leaf.remove());
    const network = await openWorkerNetwork({
      grant,
      kernel,
      broker,
      folder: folder.path,
      kind,
      onDenied: (what) => this.#deny(what),
    });
    this.#cleanUp.push(() => network.close());
    const spawned = this.#spawn(folder.path, leaf, network, user, secrets);
    return this.#follow(spawned, folder.path, leaf, network, user);
  }

  #secretFiles(workdir: string, own: string, owner: OwnUser | undefined): SecretFiles | null {
    const { secretFiles: texts = {}, grant } = this.#spec;
    if (Object.keys(texts).length === 0) return null;
    const files = makeSecretFiles(texts, { workdir, own, owner, hidden: grant.hidden });
    this.#cleanUp.push(() => files.remove());
    return files;
  }

  #command(): string[] {
    return this.#spec.kind === "host" ? [...this.#options.self.command, "__host"] : this.#spec.command;
  }

  #spawn(
    folder: string,
    leaf: CgroupLeaf | null,
    network: WorkerNetwork,
    user: OwnUser | undefined,
    secrets: SecretFiles | null,
  ): Spawned {
    const { self, kernel, env, workdir } = this.#options;
    const { grant, kind, code, cwd, stdin, calls = false } = this.#spec;
    const argv = this.#command();
    const program = calls ? callProgram(self, join(dirname(workdir), "bin")) : "";
    const readable = secrets ? { ...grant, read: [...grant.read, secrets.folder] } : grant;
    const policy = planLaunch({
      grant: calls ? withCalls(readable, self, program) : readable,
      kernel,
      worker: {
        kind,
        program: argv[0]!,
        argv,
        env: {
          ...baseEnvironment(folder),
          ...(calls ? callEnvironment(program) : {}),
          ...granted(env, grant.env),
          ...network.env,
          ...secrets?.paths,
          ...this.#spec.env,
        },
        cwd: cwd ?? folder,
        folder,
        code: kind === "host" || calls ? [...code, ...self.code] : code,
        ...(user ?? {}),
      },
      network: network.launch,
      ...(leaf ? { cgroup: leaf.folder } : {}),
    });
    const prefix = launchPrefix(kernel, policy);
    const stage =
      (kind === "script" && this.#takeWaiting(prefix, policy)) || this.#startStage(prefix, policy);
    if (stage.pipes && stdin === "ignore") void stage.pipes.stdin.end();
    return { stage, prefix };
  }

  /** One that was started ahead; none when it has died meanwhile. */
  #takeWaiting(prefix: string[], policy: LaunchPolicy): Stage | undefined {
    const stage = this.#options.ahead?.take(prefix, this.#spec.calls ?? false);
    if (!stage) return undefined;
    try {
      sendPolicy(stage, policy, this.#options.kernel.arch);
      return stage;
    } catch {
      discardStage(stage);
      return undefined;
    }
  }

  #startStage(prefix: string[], policy: LaunchPolicy): Stage {
    const { self, workdir, openPipes } = this.#options;
    const { kind, stdin, calls = false } = this.#spec;
    const pipes = kind === "script" ? openPipes() : null;
    let stage: Stage;
    try {
      stage = startStage({ self, prefix, workdir, stdin, pipes, calls });
    } catch (error) {
      pipes?.closeAll();
      throw error;
    }
    try {
      sendPolicy(stage, policy, this.#options.kernel.arch);
      return stage;
    } catch (error) {
      discardStage(stage);
      throw error;
    }
  }

  #follow(
    { stage: { child, pipes, channelFd, callFd }, prefix }: Spawned,
    folder: string,
    leaf: CgroupLeaf | null,
    network: WorkerNetwork,
    user: OwnUser | undefined,
  ): Launched {
    const { watcher, ahead } = this.#options;
    const { grant, kind } = this.#spec;
    const { pid } = child;
    const alone = grant.sandbox === "on" && grant.exec.length === 0;
    const since = readStat(pid)?.started;
    const killEverything = () =>
      killAll(pid, leaf, {
        folder,
        alone,
        pids: watch.pids(),
        ...(since === undefined ? {} : { since }),
        ...(user ? { uid: user.uid } : {}),
      });
    const kill = (why?: KillReason) => {
      this.#killedFor ??= why;
      killEverything();
      child.kill("SIGKILL");
    };
    const watch = watcher.add({
      pid,
      resources: grant.resources,
      folder,
      leaf,
      host: kind === "host",
      confined: grant.sandbox === "on",
      alone,
      kill: () => kill(),
    });
    const exited = child.exited.then(async (): Promise<WorkerExit> => {
      watch.stop();
      // What the worker left behind must not outlive it.
      killEverything();
      const { oomKills = 0, forksRefused = 0 } = leaf?.read() ?? {};
      await this.#unwind();
      if (kind === "script") ahead?.prepare(prefix);
      const exit = {
        code: child.exitCode,
        signal: child.signalCode === null ? null : String(child.signalCode),
      };
      const { cause, text } = this.#killedFor ?? {};
      const told = text === undefined ? null : cause === undefined ? null : { cause, text };
      const verdict = verdictOf({
        exit,
        hit: watch.hit() ?? told,
        ...(text !== undefined && cause === undefined ? { killedBecause: text } : {}),
        ...(usedCpu(child) === null ? {} : { usage: { cpuMs: usedCpu(child)! } }),
        oomKills,
        forksRefused,
        tooManyFiles: this.#tooManyFiles,
        openFiles: watch.openFiles(),
        peak: watch.peak(),
        resources: grant.resources,
        denials: this.#denials,
        host: kind === "host",
      });
      return { ...exit, verdict };
    });
    return {
      pid,
      folder,
      channelFd,
      callFd,
      stdin: pipes?.stdin ?? null,
      stdout: pipes?.stdout ?? child.stdout,
      stderr: pipes?.stderr ?? child.stderr,
      awaitsSockets: network.awaitsSockets,
      adoptSockets: (sockets) => network.adopt(pid, sockets),
      channelNetwork: network.channel,
      throttledMs: () => watch.throttledMs(),
      peak: () => watch.peak(),
      use: () => watch.use(),
      denials: () => this.#denials,
      noteDenial: (what) => this.#deny(what),
      noteTooManyFiles: () => void (this.#tooManyFiles = true),
      exited,
      kill,
    };
  }

  #deny(what: string): void {
    if (this.#denials.length < MAX_DENIALS && !this.#denials.includes(what)) this.#denials.push(what);
  }

  async #unwind(): Promise<void> {
    for (const step of this.#cleanUp.splice(0).reverse()) await step();
  }
}

/** Processor time of the process and of what it waited for, by the kernel's count. */
function usedCpu(child: Bun.Subprocess): number | null {
  const usage = child.resourceUsage();
  return usage === undefined ? null : Number(usage.cpuTime.total) / 1000;
}

/**
 * `holdfast call` is this program as a child of the script. The engine reads the map of its own process, whose number nobody
 * knows before; of other processes Landlock and the kernel's own rules let it see no more than their command lines.
 */
function withCalls(grant: Grant, { command }: SelfCommand, program: string): Grant {
  const exec = [...new Set([...grant.exec, command[0]!, program])];
  // From source Bun looks around in the folder of the file that it runs.
  const own = program === command[0] ? [] : [dirname(program)];
  return { ...grant, exec, read: [...grant.read, "/proc", ...own] };
}

/** For `holdfast call` in a script: where it is, and an engine that starts under the limits of a script. */
function callEnvironment(program: string): Record<string, string> {
  return { PATH: `${BASE_PATH}:${dirname(program)}`, ...SMALL_ENGINE };
}

/** Built from nothing: what the agent was started with (tokens, BUN_* options) is not the plugin's business. */
function baseEnvironment(folder: string): Record<string, string> {
  return {
    PATH: BASE_PATH,
    HOME: folder,
    TMPDIR: folder,
    LANG: "C.UTF-8",
    ...(process.env.TZ === undefined ? {} : { TZ: process.env.TZ }),
  };
}

function granted(env: Record<string, string | undefined>, names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
