/** What the kernel of this host holds a worker to (DESIGN section 8). */
export const PROTECTION_LEVELS = ["filesystem", "network", "system calls", "limits"] as const;
export type ProtectionName = (typeof PROTECTION_LEVELS)[number];

export interface Protection {
  level: "enforced" | "partial" | "missing";
  /** Why it is not `enforced`, or by what it is; one sentence. */
  reason: string;
  /** What would make it `enforced`; absent when it is. */
  fix?: string;
  /** Ids of attacks of the escape suite that this host does not stop. */
  unprotected: string[];
}

export type Protections = Record<ProtectionName, Protection>;

/** Without the reasons. */
export function levelsOf(protections: Protections): Record<ProtectionName, Protection["level"]> {
  const [files, network, calls, limits] = PROTECTION_LEVELS;
  return {
    [files]: protections[files].level,
    [network]: protections[network].level,
    [calls]: protections[calls].level,
    [limits]: protections[limits].level,
  };
}
