/** Small file systems of their own, which a test may fill and make read-only. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { until } from "./harness.ts";

/** Both kinds have a folder, which is gone when the tests end. */
export class SmallDisk {
  readonly #ballast: string;

  protected constructor(readonly folder: string) {
    this.#ballast = join(folder, "ballast");
  }

  /** Takes every byte that is left. */
  fill(): void {
    const file = openSync(this.#ballast, "a");
    for (let chunk = 1024 * 1024; chunk >= 1; chunk = Math.floor(chunk / 2)) {
      const bytes = Buffer.alloc(chunk, 0x5a);
      while (wrote(file, bytes));
    }
    closeSync(file);
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  /** What was written so far is on the medium. */
  settle(): void {
    must(["sync", "-f", this.folder]);
  }

  /** While nobody has a file of it open for writing: the kernel refuses it then. */
  remount(how: "ro" | "rw"): void {
    must(["mount", "-o", `remount,${how}`, this.folder]);
  }

  unmount(): void {
    run(["umount", "-l", this.folder]);
  }
}

export class Tmpfs extends SmallDisk {
  /** Null where this user may not mount. */
  static mount(folder: string): Tmpfs | null {
    mkdirSync(folder, { recursive: true });
    const problem = run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0755", "holdfast-test", folder]);
    return problem === null ? new Tmpfs(folder) : null;
  }
}

/** A disk with errors: ext4 on a loop device, which the kernel makes read-only while it is in use. */
export class FailingDisk extends SmallDisk {
  readonly #image: string;

  private constructor(folder: string, image: string) {
    super(folder);
    this.#image = image;
  }

  /** Null where there are no loop devices, no mkfs.ext4, or a kernel that cannot be told to find an error. */
  static mount(folder: string): FailingDisk | null {
    mkdirSync(folder, { recursive: true });
    const image = `${folder}.img`;
    writeFileSync(image, "");
    truncateSync(image, 48 * 1024 * 1024);
    if (run(["mkfs.ext4", "-q", "-F", image]) !== null) return null;
    const disk = new FailingDisk(folder, image);
    return disk.#mount() === null ? disk : null;
  }

  /** As after an error of the medium: whoever has files open cannot write them any more. */
  fail(): void {
    writeFileSync(join(this.#kernelFolder(), "trigger_fs_error"), "1");
  }

  /** What an operator does then. Whoever used it must be gone, or on the way. */
  async repair(): Promise<void> {
    const folder = this.#kernelFolder();
    must(["umount", this.folder]);
    // Processes that had it mounted for themselves may still be ending.
    await until("nobody uses the disk", () => !existsSync(folder));
    // 1: errors were corrected.
    const { exitCode, stdout } = Bun.spawnSync(["fsck.ext4", "-p", "-f", this.#image]);
    if (exitCode !== 0 && exitCode !== 1) throw new Error(`fsck ended with ${exitCode}: ${stdout}`);
    const problem = this.#mount();
    if (problem !== null) throw new Error(problem);
  }

  #kernelFolder(): string {
    const mounts = readFileSync("/proc/mounts", "utf8")
      .split("\n")
      .map((line) => line.split(" "));
    const [device] = mounts.find(([, folder]) => folder === this.folder)!;
    return join("/sys/fs/ext4", basename(device!));
  }

  #mount(): string | null {
    return run(["mount", "-o", "loop,errors=remount-ro", this.#image, this.folder]);
  }
}

function wrote(file: number, bytes: Buffer): boolean {
  try {
    return writeSync(file, bytes) === bytes.length;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOSPC") return false;
    throw error;
  }
}

function must(command: string[]): void {
  const problem = run(command);
  if (problem !== null) throw new Error(`${command.join(" ")}: ${problem}`);
}

/** Null when it went well, else what it said. */
function run(command: string[]): string | null {
  try {
    const done = Bun.spawnSync(command, { stdout: "ignore", stderr: "pipe" });
    return done.exitCode === 0 ? null : done.stderr.toString().trim();
  } catch (error) {
    return String(error);
  }
}
