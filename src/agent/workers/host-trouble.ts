/** errno names (errno(3)) of what the host is short of, whoever asks. */
const SHORTAGES: ReadonlySet<string> = new Set([
  "EAGAIN",
  "EDQUOT",
  "EIO",
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "ENOSPC",
  "EROFS",
]);

/** True when a worker could not start for want of something of the host's: its plugin is not to blame. */
export function isHostTrouble(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as { code?: unknown };
    if (typeof code === "string" && SHORTAGES.has(code)) return true;
  }
  return false;
}
