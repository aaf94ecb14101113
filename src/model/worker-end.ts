/** What ended a worker or a call, as it is counted, shown and kept with the attempt. */
export const END_CAUSES = [
  "memory",
  "cpu",
  "time",
  "disk",
  "files",
  "output",
  "denied",
  "crashed",
  "exited",
] as const;
export type EndCause = (typeof END_CAUSES)[number];

/** Most that was seen of a worker, sampled. Bytes, milliseconds of processor time, counts. */
export interface Peak {
  memoryBytes: number;
  cpuMs: number;
  processes: number;
  diskBytes: number;
}

/** What a worker uses now, with all that it started. */
export interface WorkerUse {
  /** Resident memory that is no file's, with what an empty plugin host needs. */
  memoryBytes: number;
  /** Since its start. */
  cpuMs: number;
}

/** The verdict over one life of a worker. */
export interface Verdict {
  cause: EndCause;
  /** For a person: `memory: 131 MB used, 128 MB allowed`, `denied: network example.org:443`, `crashed(SIGSEGV)`, `exited(3)`. */
  text: string;
  peak: Peak;
}
