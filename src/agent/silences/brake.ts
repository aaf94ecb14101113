import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { isoTime } from "../../core/iso-time.ts";
import type { Logger } from "../../core/logger.ts";
import { type BrakeSet, brakeText, storedBrake } from "../../model/brake.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import { WINDOW_PREFIX } from "../../model/maintenance.ts";

export interface BrakePorts {
  store: {
    setting(key: string): Promise<Json | undefined>;
    setSetting(key: string, value: Json): Promise<void>;
  };
  /** Maintenance windows that are open and brake, with the trusted time of their end. */
  windows(): { name: string; untilMs: number }[];
  /** Records an event of the agent's own. */
  tell(event: ProposedEvent): Promise<void>;
  clock: Clock;
  log: Logger;
}

const SETTING = "brake";
const BY_TIME = "time";
/** The trusted time may be corrected while one waits for it. */
const MAX_SLEEP_MS = 60_000;
const RETRY_MS = 5000;

/**
 * `holdfast brake`: while it is on, nothing begins of a run that no person started. On: at once, and durable before it is
 * answered. Off: durable first. So a crash in between leaves it on.
 */
export class Brake {
  readonly #ports: BrakePorts;
  readonly #listeners: ((on: boolean) => void)[] = [];
  #set: BrakeSet | null = null;
  /** What the listeners know. */
  #told = false;
  #work: Promise<unknown> = Promise.resolve();
  #cancelTimer = () => {};
  #started = false;
  #stopped = false;
  /** Windows that were told to brake. */
  #toldWindows = new Set<string>();

  constructor(ports: BrakePorts) {
    this.#ports = ports;
  }

  /** Takes up what the store holds, before anything can begin. */
  async load(): Promise<void> {
    this.#set = storedBrake(await this.#ports.store.setting(SETTING));
    const reason = this.reason();
    if (reason !== null) this.#ports.log.warn(`the brake is on: ${reason}`);
    this.update();
  }

  /** From here on events can be told, and it ends by time. */
  start(): void {
    this.#started = true;
    this.#tellWindows();
    this.#arm();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer();
    await this.#work;
  }

  /** Why nothing may begin now of what no person started; null when it may. */
  reason(): string | null {
    const { windows, clock } = this.#ports;
    const set = this.#set;
    if (set !== null && (set.untilMs === null || clock.trusted() < set.untilMs)) return brakeText(set);
    const window = windows()[0];
    return window === undefined ? null : `held back by the brake of maintenance window ${window.name}`;
  }

  onChange(listener: (on: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /** Who set it, and the windows that brake; `untilMs` in trusted time. */
  state(): { on: boolean; set: BrakeSet | null; windows: { name: string; untilMs: number }[] } {
    return { on: this.reason() !== null, set: this.#set, windows: this.#ports.windows() };
  }

  /** Engaged when it resolves, and over restarts. Throws when it could not be stored: it is on then until the agent stops. */
  on(asked: { by: string; reason: string; forMs: number | null }): Promise<void> {
    return this.#after(async () => {
      const { clock, store, log } = this.#ports;
      const { by, reason, forMs } = asked;
      const untilMs = forMs === null ? null : clock.trusted() + forMs;
      const set: BrakeSet = { by, reason, sinceMs: clock.wall(), untilMs };
      // First in memory: every lease that was not sent to the store by now finds it on.
      this.#set = set;
      this.update();
      this.#arm();
      try {
        await store.setSetting(SETTING, { ...set });
      } catch (error) {
        throw new HoldfastError(
          "failed",
          `the brake is on, but it could not be stored and ends when the agent stops: ${messageOf(error)}; put that right and set it again`,
        );
      }
      log.warn("the brake is on: nothing begins that no person started", { by, reason });
      const until = untilMs === null ? null : this.#shown(untilMs);
      await this.#tell({ type: "agent.brake.on", severity: "warning", data: { by, reason, until } });
    });
  }

  /** False when nobody had set it. A maintenance window that brakes goes on. */
  off(by: string): Promise<boolean> {
    return this.#after(async () => {
      if (this.#set === null) return false;
      await this.#ports.store.setSetting(SETTING, null);
      await this.#released(by);
      return true;
    });
  }

  /** To be called when a maintenance window begins or ends. */
  update(): void {
    this.#tellWindows();
    const on = this.reason() !== null;
    if (!on && !this.#told) return;
    this.#told = on;
    for (const listener of this.#listeners) listener(on);
  }

  #tellWindows(): void {
    if (!this.#started || this.#stopped) return;
    const windows = new Map(this.#ports.windows().map(({ name, untilMs }) => [name, untilMs]));
    const reason = "maintenance window";
    for (const [name, untilMs] of windows) {
      if (this.#toldWindows.has(name)) continue;
      const data = { by: `${WINDOW_PREFIX}${name}`, reason, until: this.#shown(untilMs) };
      void this.#tell({ type: "agent.brake.on", severity: "warning", data });
    }
    for (const name of this.#toldWindows) {
      if (windows.has(name)) continue;
      const data = { by: `${WINDOW_PREFIX}${name}`, reason };
      void this.#tell({ type: "agent.brake.off", severity: "info", data });
    }
    this.#toldWindows = new Set(windows.keys());
  }

  async #released(by: string): Promise<void> {
    const { reason = "" } = this.#set ?? {};
    this.#set = null;
    this.#cancelTimer();
    this.update();
    this.#ports.log.info("the brake is released", { by });
    await this.#tell({ type: "agent.brake.off", severity: "info", data: { by, reason } });
  }

  #arm(): void {
    this.#cancelTimer();
    const untilMs = this.#set?.untilMs ?? null;
    if (untilMs === null || this.#stopped) return;
    const { clock } = this.#ports;
    const waitMs = Math.min(Math.max(0, untilMs - clock.trusted()), MAX_SLEEP_MS);
    this.#cancelTimer = clock.after(waitMs, () => void this.#after(() => this.#expire()));
  }

  async #expire(): Promise<void> {
    const { clock, store, log } = this.#ports;
    const untilMs = this.#set?.untilMs ?? null;
    if (untilMs === null || clock.trusted() < untilMs) return this.#arm();
    // A crash before this is stored finds a brake whose time is over.
    this.update();
    try {
      await store.setSetting(SETTING, null);
    } catch (error) {
      log.warn("the end of the brake could not be stored; it is tried again", { error: messageOf(error) });
      if (!this.#stopped)
        this.#cancelTimer = clock.after(RETRY_MS, () => void this.#after(() => this.#expire()));
      return;
    }
    await this.#released(BY_TIME);
  }

  /** An event that could not be kept changes nothing about the brake. */
  async #tell(event: ProposedEvent): Promise<void> {
    const { tell, log } = this.#ports;
    await tell(event).catch((error: unknown) =>
      log.warn("an event of the brake could not be kept", { type: event.type, error: messageOf(error) }),
    );
  }

  #shown(trustedMs: number): string {
    const { clock } = this.#ports;
    return isoTime(clock.wall() + trustedMs - clock.trusted());
  }

  #after<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => {});
    return done;
  }
}
