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
  readonly #crash: () => never;
  readonly #struck: (fault: Fault) => void;
  #crashed = false;

  /**
   * `crash` ends whatever stands for the process; by default the process itself. `struck` is told of each fault as it
   * strikes.
   */
  constructor(
    plan: Fault[],
    crash: () => never = killThisProcess,
    struck: (fault: Fault) => void = () => {},
  ) {
    this.#plan = plan.map((fault) => ({ skip: 0, times: 1, ...fault }));
    this.#crash = crash;
    this.#struck = struck;
  }

  /** Adds to what was ordered. */
  order(fault: Fault): void {
    this.#plan.push({ skip: 0, times: 1, ...fault });
  }

  hit(label: string, at: Fault["at"]): void {
    // Where a crash is an error that is thrown, nothing may be written after it, whoever catches the error.
    if (this.#crashed) this.#crash();
    for (const fault of this.#plan) {
      if (fault.label !== label || fault.at !== at || fault.times <= 0) continue;
      if (fault.skip > 0) {
        fault.skip--;
        continue;
      }
      fault.times--;
      this.#struck(fault);
      if (fault.with === "crash") {
        this.#crashed = true;
        this.#crash();
      }
      throw Object.assign(new Error(`fault ordered at ${label} (${at})`), { code: fault.with });
    }
  }
}

function killThisProcess(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("the process survived its own SIGKILL");
}
