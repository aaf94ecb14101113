import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
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
    for (const child of this.#children) kill(-child.pid);
    await Promise.all(this.#children.map((child) => child.exited));
    // Some of them break away on purpose; all of them work in this folder.
    for (let strays = this.#strays(); strays.length > 0; strays = this.#strays()) strays.forEach(kill);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #strays(): number[] {
    return readdirSync("/proc")
      .map(Number)
      .filter((pid) => pid > 1 && folderOf(pid)?.startsWith(this.folder));
  }
}

function folderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Nobody there any more.
  }
}
