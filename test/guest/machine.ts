/** Builds the guests' image where it is missing, and boots guests from it. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Guest } from "./guests.ts";

const BUILD_SCRIPT = join(import.meta.dir, "build-image.sh");
const RUN_SCRIPT = join(import.meta.dir, "run-guest.sh");
const BUILD_LIMIT_MS = 10 * 60_000;

/** Program that must be there, and the Debian package that brings it. */
const PROGRAMS: Record<string, string> = {
  mmdebstrap: "mmdebstrap",
  mke2fs: "e2fsprogs",
  debugfs: "e2fsprogs",
  "qemu-system-x86_64": "qemu-system-x86",
};

/** Why no guest can be booted here, or null. */
export function whyNoGuests(): string | null {
  if (process.platform !== "linux" || process.arch !== "x64") return "guests are x86-64 and need Linux";
  const path = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
  const missing = Object.entries(PROGRAMS).filter(([program]) => Bun.which(program, { PATH: path }) === null);
  if (missing.length > 0) {
    return `install ${[...new Set(missing.map(([, name]) => name))].join(", ")} (Debian's names) first`;
  }
  if (process.getuid?.() !== 0 && Bun.which("sudo") === null)
    return "building their image needs root or sudo";
  return null;
}

/** Folder of the image, in the user's cache under a name that changes with the build script. */
export async function ensureImage(say: (text: string) => void): Promise<string> {
  const script = await Bun.file(BUILD_SCRIPT).text();
  const hash = new Bun.CryptoHasher("sha256").update(script).digest("hex").slice(0, 12);
  const cache = join(cacheFolder(), "holdfast-guests");
  const image = join(cache, hash);
  if (existsSync(join(image, "root.img"))) return image;
  say("building the guests' image (about a minute) …");
  mkdirSync(cache, { recursive: true });
  const building = join(cache, `${hash}.building-${process.pid}`);
  try {
    const command = [...(process.getuid?.() === 0 ? [] : ["sudo", "-n"]), BUILD_SCRIPT, building];
    const build = Bun.spawn(command, {
      stdin: "ignore",
      stdout: "inherit",
      stderr: "inherit",
      timeout: BUILD_LIMIT_MS,
    });
    if ((await build.exited) !== 0) throw new Error(`${BUILD_SCRIPT} failed with ${build.exitCode}`);
    rmSync(image, { recursive: true, force: true });
    renameSync(building, image);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  for (const name of readdirSync(cache)) {
    // Images of earlier scripts; one that another run is building now stays.
    if (!name.startsWith(hash) && !name.includes("building"))
      rmSync(join(cache, name), { recursive: true, force: true });
  }
  return image;
}

function cacheFolder(): string {
  const { XDG_CACHE_HOME: xdg, HOME: home } = process.env;
  if (xdg?.startsWith("/")) return xdg;
  return home ? join(home, ".cache") : tmpdir();
}

export interface Boot {
  image: string;
  guest: Guest;
  /** Folder with the file `job`; a copy of it is the guest's second disk. */
  share: string;
  limits: BootLimits;
  /** A line that the job has printed. */
  onLine(line: string): void;
}

/** After either the guest is ended, and the end of its console shown. */
export interface BootLimits {
  /** Without a line of the job. */
  silenceMs: number;
  totalMs: number;
}

/** Boots a guest and waits for its end; gives the job's exit code (124: out of time, 125: it died). */
export async function bootGuest({ image, guest, share, limits, onLine }: Boot): Promise<number> {
  const child = Bun.spawn([RUN_SCRIPT, image, guest.kernel, share, ...guest.arguments], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const stop = () => child.kill("SIGTERM");
  const end = (why: string) => {
    console.error(`guests: ${guest.name}: ${why}`);
    stop();
  };
  const { silenceMs, totalMs } = limits;
  const silence = setTimeout(() => end(`it said nothing for ${silenceMs / 1000} s`), silenceMs);
  const total = setTimeout(() => end(`it was not done after ${totalMs / 1000} s`), totalMs);
  process.once("exit", stop);
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of child.stdout) {
    silence.refresh();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line.trimEnd());
  }
  clearTimeout(silence);
  clearTimeout(total);
  process.off("exit", stop);
  return await child.exited;
}
