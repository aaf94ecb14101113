import { statfs } from "node:fs/promises";
import { resolve } from "node:path";
import {
  defineTrigger,
  duration,
  type Json,
  type PluginClock,
  type ProposedEvent,
  v,
} from "../../src/sdk/holdfast.ts";

/** While it stays low, `disk.low` is said again at this pace. */
const REPEAT_MS = 3_600_000;
/** `disk.ok` needs this much more than the limit, so that a disk at the limit does not flap. */
const HYSTERESIS = 0.02;

const percent = v.pipe(
  v.string(),
  v.regex(/^(100|\d{1,2}(\.\d+)?)%$/, "a percentage like 10%"),
  v.transform((text) => Number(text.slice(0, -1)) / 100),
);
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

const settings = v.strictObject({
  path: v.pipe(v.optional(v.string(), "/"), v.description("Any path on the file system to watch")),
  below: v.pipe(
    v.union([percent, share]),
    v.description("Share of free space that counts as low: a percentage like 10%, or a number from 0 to 1"),
  ),
  every: v.pipe(duration("30s"), v.minValue(10, "at least 10ms"), v.description("Time between two looks")),
  report: v.pipe(
    v.optional(v.pipe(duration(), v.minValue(10, "at least 10ms"))),
    v.description("Emits disk.usage at this pace; never when absent"),
  ),
});

interface State {
  low: boolean;
  /** When `disk.low` was said last: by the clock that nobody sets; in a checkpoint, which outlives it, by the host's. */
  at: number;
}

export interface Usage {
  total: number;
  free: number;
  /** Free part of what ordinary users can use, as `df` counts it. */
  share: number;
}

export default defineTrigger({
  name: "disk",
  description: "Emits disk.low when a file system's free space falls under a share, disk.ok when it is back",
  settings,
  async *run({ settings, checkpoint, agent, clock, signal, log }) {
    const path = resolve(agent.home, settings.path);
    const state = readState(checkpoint, clock);
    let reportDue = clock.mono();
    let failing = false;
    for await (const _ of clock.every(Math.min(settings.every, settings.report ?? Infinity), signal)) {
      if (signal.aborted) return;
      const usage = await readUsage(path).catch((error: Error) => {
        if (!failing)
          log.warn("cannot look at the file system; trying again", { path, error: error.message });
        failing = true;
      });
      if (!usage) continue;
      failing = false;
      const events: ProposedEvent[] = [];
      const data = { path, ...usage };
      if (settings.report !== undefined && clock.mono() >= reportDue) {
        reportDue = clock.mono() + settings.report;
        events.push({ type: "disk.usage", subject: path, data });
      }
      const change = judge(state, usage.share, settings.below, clock.mono());
      if (change) {
        const severity = change === "disk.low" ? "warning" : "info";
        events.push({ type: change, subject: path, severity, data: { ...data, below: settings.below } });
      }
      if (events.length > 0) yield change ? { events, checkpoint: kept(state, clock) } : { events };
    }
  },
});

/** Moves the state and says which event that makes, if any. */
export function judge(state: State, free: number, below: number, now: number) {
  if (free < below) {
    if (state.low && now - state.at < REPEAT_MS) return undefined;
    state.low = true;
    state.at = now;
    return "disk.low" as const;
  }
  // Shares have four decimals; the rest is how floating point adds.
  if (!state.low || free < Math.min(below + HYSTERESIS, 1) - 1e-6) return undefined;
  state.low = false;
  return "disk.ok" as const;
}

export async function readUsage(path: string): Promise<Usage> {
  const { blocks, bfree, bavail, bsize } = await statfs(path);
  const usable = blocks - bfree + bavail;
  const share = usable === 0 ? 1 : Math.round((bavail / usable) * 10_000) / 10_000;
  return { total: blocks * bsize, free: bavail * bsize, share };
}

type Clock = Pick<PluginClock, "mono" | "wall">;

function readState(checkpoint: Json | undefined, clock: Clock): State {
  const parsed = v.safeParse(v.object({ low: v.boolean(), at: v.number() }), checkpoint);
  if (!parsed.success) return { low: false, at: clock.mono() };
  const { low, at } = parsed.output;
  // A negative age is a clock that was set back meanwhile: counted anew from here, not repeated at once.
  return { low, at: clock.mono() - Math.max(0, clock.wall() - at) };
}

function kept({ low, at }: State, clock: Clock): Json {
  return { low, at: Math.round(clock.wall() - (clock.mono() - at)) };
}
