import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_RESOURCES, type Resources } from "../../../model/permissions.ts";

export const MB = 1024 ** 2;

export function resources(change: Partial<Resources> = {}): Resources {
  return { ...DEFAULT_RESOURCES, ...change };
}

/** Processes of a test, each leader of its own session as workers are; all are gone after `end`. */
export class Hostiles {
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-limits-"));
  readonly #children: ReturnType<typeof Bun.spawn>[] = [];

  sh(script: string, ...args: string[]) {
    return this.run(["sh", "-c", script, "sh", ...args]);
  }

  python(script: string, ...args: string[]) {
    return this.run(["python3", "-c", script, ...args]);
  }

  bun(script: string, ...args: string[]) {
    return this.run([process.execPath, "-e", script, ...args]);
  }

  run(command: string[]) {
    const child = Bun.spawn(command, {
      cwd: this.folder,
      detached: true,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
    });
    this.#children.push(child);
    return child;
  }

  async end(): Promise<void> {
    for (const child of this.#children) {
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // Nobody left.
      }
    }
    await Promise.all(this.#children.map((child) => child.exited));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
