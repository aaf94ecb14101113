import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { DEFAULT_RESOURCES, NO_PERMISSIONS, SYSTEM_PATHS } from "../model/permissions.ts";
import type { CatalogPlugin, PluginKind } from "../model/plugin.ts";
import type { Launcher } from "../agent/workers/launch.ts";
import { openLauncher, type OpenLauncherOptions } from "../agent/workers/open-launcher.ts";
import type { KernelFacts } from "../agent/workers/sandbox/kernel-facts.ts";
import { probeKernel } from "../agent/workers/sandbox/probe.ts";
import type { GrantFor } from "../agent/workers/worker-maker.ts";
import { type SelfCommand, selfCommand } from "../agent/workers/self-command.ts";
import { createWorkers, type Workers, type WorkersOptions } from "../agent/workers/workers.ts";
import { bareGrant, type Grant } from "../model/grant.ts";

/** A temporary home with workers over the real host process, for tests. */
export interface TestBench {
  dir: string;
  workdir: string;
  workers: Workers;
  /** Lines of all plugin logs, parsed. */
  lines: Record<string, unknown>[];
  /** Writes a plugin file and gives it as the catalog would. */
  plugin(kind: PluginKind, name: string, source: string): CatalogPlugin;
  close(): void;
}

export function testBench(options: Partial<WorkersOptions> = {}): TestBench {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-workers-")));
  chmodSync(dir, 0o700);
  const workdir = join(dir, "workdir");
  const lines: Record<string, unknown>[] = [];
  mkdirSync(join(dir, "plugins"));
  const workers = createWorkers({
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    workdir,
    pluginLog: () => ({ write: (line) => void lines.push(JSON.parse(line)) }),
    agent: { id: "test-01", labels: { role: "test" }, home: dir },
    launcher: testLauncher({ workdir }),
    grantFor: testGrant(dir),
    ...options,
  });
  return {
    dir,
    workdir,
    workers,
    lines,
    plugin(kind, name, source) {
      const file = join(dir, "plugins", `${name}.ts`);
      writeFileSync(
        file,
        `import { ActionError, defineAction, defineOutput, defineTrigger, duration, v } from "holdfast";\n${source}`,
      );
      const manifest = {
        kind,
        name,
        description: "",
        settings: {},
        permissions: NO_PERMISSIONS,
        resources: {},
      };
      return { manifest, entry: { file } };
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** The program under test: the compiled executable when HOLDFAST_TEST_EXECUTABLE names one, else this source. */
export function testSelf(): SelfCommand {
  const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
  return executable === undefined ? selfCommand() : { command: [executable], code: [] };
}

/** What this host's kernel offers, probed once for all benches of a test file. */
let probed: Promise<KernelFacts> | undefined;
export function testKernel(): Promise<KernelFacts> {
  return (probed ??= probeKernel(testSelf().command));
}

/** The real launcher, opened by the first launch. */
export function testLauncher(options: Partial<OpenLauncherOptions> & { workdir: string }): Launcher {
  let opening: Promise<Launcher> | undefined;
  const open = async () => {
    const { launcher } = await openLauncher({
      kernel: await testKernel(),
      clock: systemClock(),
      ids: systemIds(),
      log: silentLogger(),
      self: testSelf(),
      ...options,
    });
    return launcher;
  };
  return { launch: async (spec) => await (await (opening ??= open())).launch(spec) };
}

/** To plugins under test: the bench's folder, the host's programs, and more than they use. */
export function testGrant(dir: string): GrantFor {
  const grant: Grant = {
    ...bareGrant({ ...DEFAULT_RESOURCES, cpu: 4, memory: 512 * 1024 ** 2 }),
    read: [dir, SYSTEM_PATHS],
    write: [dir],
    exec: [SYSTEM_PATHS],
  };
  return () => ({ kind: "granted", grant, strict: false, create: [], needsHiding: false });
}
