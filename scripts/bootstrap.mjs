/**
 * Brings the pinned Bun and the locked packages on a machine that has Node and npm only. Plain Node, no dependencies:
 * it runs before every npm script and must cost next to nothing when there is nothing to do.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const bun = join(modules, ".bin", process.platform === "win32" ? "bun.exe" : "bun");
const stamp = join(modules, ".holdfast-installed");
const lock = join(modules, ".holdfast-installing");
const WAIT_LIMIT_MS = 10 * 60_000;

const lockfile = fs.readFileSync(join(root, "bun.lock"));
const version = JSON.parse(fs.readFileSync(join(root, "package.json"), "utf8")).devDependencies.bun;
const wanted = createHash("sha256").update(lockfile).update("\0").update(version).digest("hex");

if (!isInstalled()) {
  const release = takeLock();
  try {
    // Another script may have installed while this one waited.
    if (!isInstalled()) install();
  } finally {
    release();
  }
}

function isInstalled() {
  try {
    return fs.readFileSync(stamp, "utf8").trim() === wanted && fs.existsSync(bun);
  } catch {
    return false;
  }
}

function install() {
  console.error(`holdfast: installing Bun ${version} and the packages of bun.lock …`);
  const [command, ...args] = installer();
  const result = spawnSync(command, [...args, "install", "--frozen-lockfile"], {
    cwd: root,
    // The installer's own output is for people, the caller's stdout may be read by a program.
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (result.error?.code === "ENOENT")
    fail(`${command} was not found: install Node.js with npm, then try again`);
  if (result.error) fail(`${command} did not start: ${result.error.message}`);
  if (result.status !== 0) {
    fail(
      `"${command} ${args.join(" ")} install --frozen-lockfile" failed ` +
        `(${result.signal ?? `exit code ${result.status}`}); its output is above. ` +
        "Is the package registry reachable (npm ping)? Later runs work offline.",
    );
  }
  if (!fs.existsSync(bun))
    fail(`the installation ended, but there is no ${bun}: remove node_modules and try again`);
  fs.writeFileSync(`${stamp}.${process.pid}`, `${wanted}\n`);
  fs.renameSync(`${stamp}.${process.pid}`, stamp);
}

/** The Bun that is already here if it is the pinned one, else the pinned one through npx. */
function installer() {
  if (fs.existsSync(bun)) {
    const found = spawnSync(bun, ["--version"], { encoding: "utf8" });
    if (found.status === 0 && found.stdout.trim() === version) return [bun];
  }
  return ["npx", "--yes", "--prefer-offline", `bun@${version}`];
}

/** One installation at a time; a lock whose owner is gone is taken over. Returns the function that gives it back. */
function takeLock() {
  fs.mkdirSync(modules, { recursive: true });
  const deadline = Date.now() + WAIT_LIMIT_MS;
  for (let told = false; ;) {
    try {
      const handle = fs.openSync(lock, "wx");
      fs.writeSync(handle, String(process.pid));
      fs.closeSync(handle);
      return () => fs.rmSync(lock, { force: true });
    } catch (error) {
      if (error.code !== "EEXIST") fail(`cannot write to ${modules}: ${error.message}`);
    }
    if (lockIsStale()) fs.rmSync(lock, { force: true });
    else if (Date.now() > deadline)
      fail(`waited 10 minutes for ${lock}: if nothing is installing, remove it`);
    else {
      if (!told) console.error("holdfast: another script is installing, waiting …");
      told = true;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
}

function lockIsStale() {
  try {
    const owner = Number(fs.readFileSync(lock, "utf8"));
    // An owner writes its pid right after it made the file; an empty one that stays was left by a crash in between.
    if (!owner) return Date.now() - fs.statSync(lock).mtimeMs > 5_000;
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

function fail(message) {
  console.error(`holdfast: ${message}`);
  fs.rmSync(`${stamp}.${process.pid}`, { force: true });
  releaseOwnLock();
  process.exit(1);
}

function releaseOwnLock() {
  try {
    if (Number(fs.readFileSync(lock, "utf8")) === process.pid) fs.rmSync(lock, { force: true });
  } catch {
    // No lock to give back.
  }
}
