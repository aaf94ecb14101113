import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { NO_PERMISSIONS } from "../model/permissions.ts";
import type { CatalogPlugin, PluginKind } from "../model/plugin.ts";
import { createWorkers, type Workers, type WorkersOptions } from "../agent/workers/workers.ts";

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
  const dir = mkdtempSync(join(tmpdir(), "holdfast-workers-"));
  chmodSync(dir, 0o700);
  const workdir = join(dir, "workdir");
  const lines: Record<string, unknown>[] = [];
  mkdirSync(join(dir, "plugins"));
  // The same suite runs on the compiled executable when this names one.
  const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
  const workers = createWorkers({
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    workdir,
    pluginLog: () => ({ write: (line) => void lines.push(JSON.parse(line)) }),
    agent: { id: "test-01", labels: { role: "test" }, home: dir },
    ...(executable === undefined ? {} : { command: [executable, "__host"] }),
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
