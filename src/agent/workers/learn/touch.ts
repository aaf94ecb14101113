/** What was found at a path when it was touched. `none`: nothing, so that the call failed or made it. */
export type Found = "file" | "folder" | "other" | "none";

/** One thing that a worker touched, or tried to. Paths are absolute, and real but for the last part of what is changed. */
export type Touch =
  | { what: "read" | "write"; path: string; found: Found }
  /** `path` is what was asked for, which may be a symbolic link. */
  | { what: "exec"; path: string; real: string; found: Found }
  /** An entry of a folder that is made, removed, renamed or linked. */
  | { what: "change"; path: string }
  /** `host` is an address. */
  | { what: "connect" | "udp"; host: string; port: number }
  | { what: "listen"; port: number }
  | { what: "unix"; path: string }
  | { what: "icmp" }
  /** A question that was sent to a name server. */
  | { what: "name"; name: string }
  /** A call of a process into which the agent may not look (a program that its user can execute, but not read). */
  | { what: "unseen"; call: string };

/** The same for the same touch. */
export function keyOf(touch: Touch): string {
  return JSON.stringify(touch);
}
