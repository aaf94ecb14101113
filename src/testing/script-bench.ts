import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ScriptLauncher, ScriptPorts } from "../agent/workers/scripts/ports.ts";
import * as v from "valibot";
import { type ScriptPipes, scriptPipeMaker } from "../agent/workers/scripts/script-pipes.ts";
import { DEFAULT_TIMING, type WorkerTiming } from "../agent/workers/timing.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { bareGrant, type Grant } from "../model/grant.ts";
import type { JsonObject } from "../model/json.ts";
import { DEFAULT_RESOURCES, permissionsSchema, type Resources } from "../model/permissions.ts";
import type { CatalogPlugin, Manifest, PluginKind, ScriptEntry } from "../model/plugin.ts";
import type { EndCause, Verdict } from "../model/worker-end.ts";

/** Starts scripts in a session of their own, unconfined: for tests of what is done with them, not of what they may do. */
export function plainLauncher(workdir: string): ScriptLauncher {
  const ids = systemIds();
  const openPipes = scriptPipeMaker();
  return {
    async launch({ command, label, env, calls }) {
      const folder = join(workdir, `${label}-${ids.hex(4)}`);
      mkdirSync(folder, { recursive: true });
      const base = { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: folder, TMPDIR: folder, LANG: "C.UTF-8" };
      const pipes = openPipes();
      const child = spawn(command, folder, { ...base, ...env }, pipes, calls);
      pipes.closeChild();
      let cause: EndCause | undefined;
      const killGroup = () => {
        try {
          process.kill(-child.pid, "SIGKILL");
        } catch {
          // ESRCH: nobody is left in the group.
        }
      };
      const exited = child.exited.then(() => {
        killGroup();
        rmSync(folder, { recursive: true, force: true });
        const signal = child.signalCode === null ? null : String(child.signalCode);
        return { code: child.exitCode, signal, verdict: verdict(child.exitCode, signal, cause) };
      });
      return {
        pid: child.pid,
        callFd: (child.stdio[4] as unknown as number | undefined) ?? null,
        stdin: pipes.stdin,
        stdout: pipes.stdout,
        stderr: pipes.stderr,
        exited,
        kill(why) {
          cause ??= why?.cause;
          killGroup();
        },
      };
    },
  };
}

function spawn(
  command: string[],
  folder: string,
  env: Record<string, string>,
  pipes: ScriptPipes,
  calls: boolean,
) {
  try {
    return Bun.spawn(command, {
      cwd: folder,
      env,
      stdio: [...pipes.child, "ignore", ...(calls ? ["socket-fd"] : [])] as unknown as [
        number,
        number,
        number,
      ],
      detached: true,
    });
  } catch (error) {
    pipes.closeAll();
    rmSync(folder, { recursive: true });
    throw error;
  }
}

function verdict(code: number | null, signal: string | null, killed: EndCause | undefined): Verdict {
  const peak = { memoryBytes: 0, cpuMs: 0, processes: 0, diskBytes: 0 };
  if (killed !== undefined) return { cause: killed, text: killed, peak };
  if (signal !== null) return { cause: "crashed", text: `crashed(${signal})`, peak };
  return { cause: "exited", text: `exited(${code})`, peak };
}

export interface ScriptBench {
  dir: string;
  workdir: string;
  /** Lines of all plugin logs, parsed. */
  lines: Record<string, unknown>[];
  clock: Clock;
  ports: ScriptPorts & { random: () => number; log: ReturnType<typeof silentLogger> };
  /** Writes a script and gives it as the catalog would. */
  script(name: string, text: string, options?: ScriptFixture): Fixture;
  close(): void;
}

export interface ScriptFixture {
  kind?: PluginKind;
  settings?: JsonObject;
  entry?: Partial<ScriptEntry>;
  resources?: Partial<Resources>;
  grant?: Partial<Grant>;
}

export interface Fixture {
  plugin: CatalogPlugin;
  script: ScriptEntry;
  grant: Grant;
}

export function scriptBench(timing: Partial<WorkerTiming> = {}): ScriptBench {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-scripts-"));
  const workdir = join(dir, "workdir");
  mkdirSync(workdir);
  const lines: Record<string, unknown>[] = [];
  const clock = systemClock();
  return {
    dir,
    workdir,
    lines,
    clock,
    ports: {
      launcher: plainLauncher(workdir),
      agent: { id: "test-01", labels: {}, home: dir },
      clock,
      timing: {
        ...DEFAULT_TIMING,
        drainMs: 600,
        cancelMs: 200,
        backoff: { kind: "exponential", initialMs: 10, maxMs: 50 },
        ...timing,
      },
      pluginLog: () => ({ write: (line) => void lines.push(JSON.parse(line)) }),
      hostEnv: process.env,
      random: () => 0.5,
      log: silentLogger(),
    },
    script(name, text, { kind = "action", settings, entry, resources, grant } = {}) {
      const folder = join(dir, "plugins", name);
      const file = join(folder, name);
      mkdirSync(folder, { recursive: true });
      writeFileSync(file, text);
      chmodSync(file, 0o755);
      const script: ScriptEntry = {
        folder,
        entry: file,
        mode: kind === "trigger" ? "lines" : "once",
        plain: false,
        env: {},
        ...entry,
      };
      const manifest: Manifest = {
        kind,
        name,
        description: "",
        settings: settings ?? { type: "object" },
        permissions: v.parse(permissionsSchema, {}),
        resources: {},
      };
      return {
        plugin: { manifest, entry: { script } },
        script,
        grant: { ...bareGrant({ ...DEFAULT_RESOURCES, ...resources }), ...grant },
      };
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}
