/** One failure that a test orders, by the label of a write. */
export interface Fault {
  label: string;
  at: "before" | "after";
  /** `crash`: the process kills itself at once. Otherwise the SQLite error code to fail with, such as `SQLITE_FULL`. */
  with: "crash" | (string & {});
  /** Passes of the label that go well first. */
  skip?: number;
  /** How often it strikes; once by default. */
  times?: number;
}

/** Strikes at labelled writes as ordered. Production code is given none. */
export class Faults {
  #plan: Required<Fault>[];

  constructor(plan: Fault[]) {
    this.#plan = plan.map((fault) => ({ skip: 0, times: 1, ...fault }));
  }

  hit(label: string, at: Fault["at"]): void {
    for (const fault of this.#plan) {
      if (fault.label !== label || fault.at !== at || fault.times <= 0) continue;
      if (fault.skip > 0) {
        fault.skip--;
        continue;
      }
      fault.times--;
      if (fault.with === "crash") process.kill(process.pid, "SIGKILL");
      throw Object.assign(new Error(`fault ordered at ${label} (${at})`), { code: fault.with });
    }
  }
}
