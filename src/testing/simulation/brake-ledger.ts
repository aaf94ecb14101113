import type { ObservedRun } from "./observer.ts";
import type { SharedRooms } from "./shared-rooms.ts";

interface Options {
  trusted: () => number;
  fail: (invariant: string, what: string) => void;
}

/** The brake as people were told of it: while they know that it is on, nothing begins that no person started. */
export class BrakeLedger {
  readonly #options: Options;
  /** `unknown`: somebody was setting it when the agent died, or was told that it could not be stored. */
  #state: "off" | "on" | "unknown" = "off";
  #untilMs = Infinity;
  #busyIn = -1;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Somebody is about to change it in this life; false while another one does. */
  begin(life: number): boolean {
    if (this.#busyIn === life) return false;
    this.#busyIn = life;
    this.#state = "unknown";
    return true;
  }

  /** `untilMs`: the earliest trusted time at which it may end by itself. */
  on(untilMs: number): void {
    this.#busyIn = -1;
    this.#state = "on";
    this.#untilMs = untilMs;
  }

  off(): void {
    this.#busyIn = -1;
    this.#state = "off";
  }

  failed(): void {
    this.#busyIn = -1;
  }

  get isOff(): boolean {
    return this.#state === "off";
  }

  /** An attempt has begun, durably. */
  leased(run: ObservedRun, step: string, runs: Map<string, ObservedRun>): void {
    if (!this.#holds() || !isUnattended(run, runs)) return;
    this.#options.fail(
      "the brake holds",
      `an attempt of ${step} of ${run.row.id} begins while the brake is on`,
    );
  }

  /** A life has begun: what was answered must be there. */
  opened({ brake }: SharedRooms): void {
    const { on, set } = brake.state();
    if (this.#state === "unknown") {
      this.#state = on ? "on" : "off";
      this.#untilMs = set?.untilMs ?? Infinity;
    } else if (on !== this.#holds())
      this.#options.fail("the brake holds", `the brake is ${on ? "on" : "off"}, and people know otherwise`);
  }

  #holds(): boolean {
    return this.#state === "on" && this.#options.trusted() < this.#untilMs;
  }
}

/** By what the store says of the runs, whoever holds them in memory. */
function isUnattended({ row }: ObservedRun, runs: Map<string, ObservedRun>): boolean {
  if (row.starter === "rule" || row.starter === "schedule") return true;
  if (row.starter !== "parent" && row.starter !== "spawn") return false;
  const above = runs.get(row.parent ?? "");
  return above !== undefined && isUnattended(above, runs);
}
