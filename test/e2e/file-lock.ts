import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

const WAIT_LIMIT_MS = 180_000;

/** Runs `work` while no other process on this machine does under the same path; a dead owner's lock is taken over. */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const deadline = performance.now() + WAIT_LIMIT_MS;
  while (!take(path)) {
    if (performance.now() > deadline) throw new Error(`waited ${WAIT_LIMIT_MS} ms for ${path}`);
    await Bun.sleep(50);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    writeFileSync(path, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
  if (ownerIsGone(path)) rmSync(path, { force: true });
  return false;
}

function ownerIsGone(path: string): boolean {
  try {
    const owner = Number(readFileSync(path, "utf8"));
    if (owner > 0) process.kill(owner, 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === "ESRCH";
  }
}
