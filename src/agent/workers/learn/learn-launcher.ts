import { closeSync, writeSync } from "node:fs";
import { HoldfastError, messageOf } from "../../../core/errors.ts";
import type { Ids } from "../../../core/ids.ts";
import type { KillReason, Launched, Launcher, LaunchSpec, WorkerExit } from "../launch.ts";
import { killAll } from "../limits/kill-all.ts";
import { verdictOf } from "../limits/verdict.ts";
import { makeOwnFolder, type OwnFolder } from "../own-folder.ts";
import type { LaunchPolicy } from "../sandbox/launch-policy.ts";
import type { ScriptPipes } from "../scripts/script-pipes.ts";
import type { SelfCommand } from "../self-command.ts";
import { openWatch, type Watch } from "./open-watch.ts";
import type { Touch } from "./touch.ts";

export interface LearnLauncherOptions {
  self: SelfCommand;
  openPipes: () => ScriptPipes;
  /** Folder in which each worker gets a fresh one of its own. */
  workdir: string;
  ids: Ids;
  /** Called with each worker's place, before it starts. */
  onLaunch(place: WorkerPlace): void;
  onTouches(touches: Touch[]): void;
}

/** What a worker may use without asking for it. */
export interface WorkerPlace {
  kind: "host" | "script";
  program: string;
  folder: string;
  code: string[];
}

const CHANNEL_FD = 3;
const CALL_FD = 4;
const PEAK = { memoryBytes: 0, cpuMs: 0, processes: 0, diskBytes: 0 };

/**
 * Starts workers that nothing is refused and whose calls are watched: as the agent's user without privileges, with the
 * environment that they will have, and without limits.
 */
export function learnLauncher(options: LearnLauncherOptions): Launcher {
  return { launch: (spec) => launch(options, spec) };
}

async function launch(options: LearnLauncherOptions, spec: LaunchSpec): Promise<Launched> {
  const { self, workdir, ids } = options;
  const argv = spec.kind === "host" ? [...self.command, "__host"] : spec.command;
  const folder = makeOwnFolder(workdir, spec.label, ids);
  const code = [...spec.code, ...(spec.kind === "host" ? self.code : [])];
  options.onLaunch({ kind: spec.kind, program: argv[0]!, folder: folder.path, code });
  const pipes = spec.kind === "script" ? options.openPipes() : null;
  let child: Child | undefined;
  try {
    child = spawn(options, spec, argv, folder.path, pipes);
    pipes?.closeChild();
    const channelFd = child.stdio[CHANNEL_FD] as unknown as number;
    const watch = await openWatch({ pid: child.pid, channelFd }, options.onTouches);
    return follow(spec, child, folder, pipes, watch);
  } catch (error) {
    if (child) await abandon(child, pipes);
    else pipes?.closeAll();
    await folder.remove();
    throw new HoldfastError("failed", `cannot watch ${argv[0]}: ${messageOf(error)}`, { cause: error });
  }
}

/** Nobody has taken over its descriptors. */
async function abandon(child: Child, pipes: ScriptPipes | null): Promise<void> {
  child.kill("SIGKILL");
  await child.exited;
  const { stdin, stdout, stderr } = pipes ?? { stdin: null, stdout: child.stdout, stderr: child.stderr };
  await Promise.allSettled([stdin?.end(), stdout.cancel(), stderr.cancel()]);
  for (const fd of child.stdio.slice(CHANNEL_FD) as unknown[]) if (typeof fd === "number") closeSync(fd);
}

type Child = Bun.Subprocess<"pipe", "pipe", "pipe">;

function spawn(
  { self }: LearnLauncherOptions,
  spec: LaunchSpec,
  argv: string[],
  folder: string,
  pipes: ScriptPipes | null,
): Child {
  const [input, output, errors] = pipes?.child ?? [spec.stdin, "pipe", "pipe"];
  const own = { HOME: folder, TMPDIR: folder };
  const child = Bun.spawn([...self.command, "__launch"], {
    cwd: folder,
    env: { PATH: "/usr/bin:/bin", ...own },
    stdio: [input, output, errors, "socket-fd", ...(spec.calls ? ["socket-fd"] : [])] as unknown as [
      "pipe",
      "pipe",
      "pipe",
    ],
    detached: true,
  });
  const policy: LaunchPolicy = {
    program: argv[0]!,
    argv,
    env: { PATH: PROGRAM_PATH, ...own, LANG: "C.UTF-8", ...spec.env },
    cwd: spec.cwd ?? folder,
    rlimits: {},
    keepFds: spec.calls ? CALL_FD + 1 : CHANNEL_FD + 1,
    learn: true,
  };
  const body = Buffer.from(JSON.stringify(policy));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  // A fresh socket pair takes far more than a policy at once.
  writeSync(child.stdio[CHANNEL_FD] as unknown as number, Buffer.concat([length, body]));
  return child;
}

const PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function follow(
  spec: LaunchSpec,
  child: Child,
  folder: OwnFolder,
  pipes: ScriptPipes | null,
  watch: Watch,
): Launched {
  const { pid } = child;
  const denials: string[] = [];
  let killedFor: KillReason | undefined;
  const kill = (why?: KillReason) => {
    killedFor ??= why;
    killAll(pid, null);
  };
  // Unwatched, its calls would fail one by one.
  watch.ended.catch((error: unknown) => kill({ text: `it could not be watched: ${messageOf(error)}` }));
  const exited = child.exited.then(async (): Promise<WorkerExit> => {
    killAll(pid, null);
    watch.stop();
    await watch.ended.catch(() => {});
    await folder.remove();
    const signal = child.signalCode === null ? null : String(child.signalCode);
    const exit = { code: child.exitCode, signal };
    const { cause, text } = killedFor ?? {};
    const verdict = verdictOf({
      exit,
      hit: cause !== undefined && text !== undefined ? { cause, text } : null,
      ...(text !== undefined && cause === undefined ? { killedBecause: text } : {}),
      oomKills: 0,
      peak: PEAK,
      resources: spec.grant.resources,
      denials,
      host: spec.kind === "host",
    });
    return { ...exit, verdict };
  });
  return {
    pid,
    folder: folder.path,
    channelFd: child.stdio[CHANNEL_FD] as unknown as number,
    callFd: (child.stdio[CALL_FD] as unknown as number | undefined) ?? null,
    stdin: pipes?.stdin ?? null,
    stdout: pipes?.stdout ?? child.stdout,
    stderr: pipes?.stderr ?? child.stderr,
    awaitsSockets: false,
    adoptSockets: () =>
      Promise.reject(new HoldfastError("invalid", "a watched worker has no network of its own")),
    channelNetwork: null,
    throttledMs: () => 0,
    peak: () => PEAK,
    use: () => PEAK,
    denials: () => denials,
    noteDenial: (what) => void denials.push(what),
    noteTooManyFiles() {},
    exited,
    kill,
  };
}
