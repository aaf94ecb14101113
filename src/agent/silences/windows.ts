import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/logger.ts";
import { type MaintenanceDefinition, nextOpening, openSince } from "../../model/maintenance.ts";

/** The wall clock may be set while one waits for it. */
const LOOK_MS = 5000;

interface Entry {
  definition: MaintenanceDefinition;
  /** Trusted time of its end; null while it is closed. */
  untilMs: number | null;
  /** Beginning of the last opening, and when it opens next: wall time. */
  sinceMs: number;
  nextMs: number | null;
}

export interface WindowState {
  definition: MaintenanceDefinition;
  untilMs: number | null;
  nextMs: number | null;
}

/**
 * Maintenance windows. They open by the host's wall clock, as schedules are due by it, and are open for their time by the
 * trusted one: a clock that is set meanwhile neither ends nor prolongs them.
 */
export class MaintenanceWindows {
  readonly #entries: Entry[];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners: (() => void)[] = [];
  #wallMs = -Infinity;
  /** Nothing closes before this trusted time, and nothing opens before this wall time. */
  #closesMs = -Infinity;
  #opensMs = -Infinity;
  #cancelTimer = () => {};

  constructor(definitions: MaintenanceDefinition[], clock: Clock, log: Logger) {
    this.#entries = definitions.map((definition) => ({
      definition,
      untilMs: null,
      sinceMs: -Infinity,
      nextMs: null,
    }));
    this.#clock = clock;
    this.#log = log;
  }

  /** Called when one has opened or closed. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** From here on it is told when they open and close. */
  start(): void {
    if (this.#entries.length === 0) return;
    this.#look();
    this.#arm();
  }

  stop(): void {
    this.#cancelTimer();
  }

  all(): WindowState[] {
    this.#look();
    return this.#entries;
  }

  /** Those that are open now. */
  open(): { definition: MaintenanceDefinition; untilMs: number }[] {
    if (this.#entries.length === 0) return [];
    this.#look();
    return this.#entries.filter((entry): entry is Entry & { untilMs: number } => entry.untilMs !== null);
  }

  #arm(): void {
    this.#cancelTimer();
    const closesMs = this.#closesMs - this.#clock.trusted();
    const opensMs = this.#opensMs - this.#clock.wall();
    const waitMs = Math.min(Math.max(1, Math.min(closesMs, opensMs)), LOOK_MS);
    this.#cancelTimer = this.#clock.after(waitMs, () => {
      this.#look();
      this.#arm();
    });
  }

  #look(): void {
    if (this.#entries.length === 0) return;
    const wallMs = this.#clock.wall();
    const trustedMs = this.#clock.trusted();
    const setBack = wallMs < this.#wallMs;
    this.#wallMs = wallMs;
    if (!setBack && trustedMs < this.#closesMs && wallMs < this.#opensMs) return;
    let changed = false;
    for (const entry of this.#entries) {
      // What the clock had reached before it was set back comes again.
      if (setBack && entry.sinceMs > wallMs) entry.sinceMs = -Infinity;
      if (this.#turn(entry, wallMs, trustedMs)) changed = true;
    }
    this.#closesMs = Math.min(...this.#entries.map(({ untilMs }) => untilMs ?? Infinity));
    this.#opensMs = Math.min(
      ...this.#entries.map(({ untilMs, nextMs }) => (untilMs === null ? (nextMs ?? Infinity) : Infinity)),
    );
    if (changed) for (const listener of this.#listeners) listener();
  }

  /** Whether it has opened or closed. */
  #turn(entry: Entry, wallMs: number, trustedMs: number): boolean {
    const { definition } = entry;
    const wasOpen = entry.untilMs !== null;
    if (entry.untilMs !== null && trustedMs < entry.untilMs) {
      entry.nextMs = nextOpening(definition.timing, wallMs);
      return false;
    }
    entry.untilMs = null;
    const sinceMs = openSince(definition.timing, wallMs);
    if (sinceMs !== null && sinceMs > entry.sinceMs) {
      entry.sinceMs = sinceMs;
      entry.untilMs = trustedMs + sinceMs + definition.timing.forMs - wallMs;
    }
    entry.nextMs = nextOpening(definition.timing, wallMs);
    const isOpen = entry.untilMs !== null;
    if (isOpen !== wasOpen)
      this.#log.info(`maintenance window ${isOpen ? "open" : "closed"}`, { window: definition.name });
    return isOpen !== wasOpen;
  }
}
