import {
  type MaintenanceDefinition,
  nextOpening,
  openSince,
  WINDOW_PREFIX,
} from "../../model/maintenance.ts";
import { type FiringFacts, matchesAll, type Mute, type Silence } from "../../model/silence.ts";
import type { Times } from "./ports.ts";

/** A window, and the wall times between which it is known to be open or closed. */
interface Window {
  definition: MaintenanceDefinition;
  isOpen: boolean;
  fromMs: number;
  toMs: number;
}

/**
 * What silenced rules at a moment of the past: what people had silenced then, and the maintenance windows that are proposed.
 * `moment` is moved on by whoever asks.
 */
export class PastQuiet {
  readonly moment: Times = { trustedMs: 0, wallMs: 0 };
  readonly #silences: Silence[];
  readonly #windows: Window[];
  readonly #labels: Record<string, string>;

  constructor(silences: Silence[], windows: MaintenanceDefinition[], labels: Record<string, string>) {
    this.#silences = silences;
    this.#windows = windows
      .filter(({ match }) => match.length > 0)
      .map((definition) => ({ definition, isOpen: false, fromMs: 0, toMs: 0 }));
    this.#labels = labels;
  }

  /** Null when nothing silences a rule that fires so. */
  of(facts: () => FiringFacts): { by: Partial<Record<Mute, string>>; count(): void } | null {
    const silences = this.#silences.filter((silence) => this.#holds(silence));
    const windows = this.#windows.filter((window) => this.#isOpen(window));
    if (silences.length + windows.length === 0) return null;
    const known = facts();
    const by: Partial<Record<Mute, string>> = {};
    const mute = (name: string, { match, mute: what }: Pick<Silence, "match" | "mute">) => {
      if (matchesAll(match, known, this.#labels)) for (const each of what) by[each] ??= name;
    };
    for (const { definition } of windows) mute(`${WINDOW_PREFIX}${definition.name}`, definition);
    for (const silence of silences) mute(silence.id, silence);
    return { by, count: () => {} };
  }

  #holds({ createdMs, untilMs, ended }: Silence): boolean {
    const { wallMs, trustedMs } = this.moment;
    return createdMs <= wallMs && trustedMs < untilMs && (ended === null || wallMs < ended.atMs);
  }

  #isOpen(window: Window): boolean {
    const { wallMs } = this.moment;
    if (wallMs < window.fromMs || wallMs >= window.toMs) {
      const { timing } = window.definition;
      const sinceMs = openSince(timing, wallMs);
      window.isOpen = sinceMs !== null;
      window.fromMs = wallMs;
      window.toMs = sinceMs === null ? (nextOpening(timing, wallMs) ?? Infinity) : sinceMs + timing.forMs;
    }
    return window.isOpen;
  }
}
