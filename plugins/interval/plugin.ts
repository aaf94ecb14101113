import { defineTrigger, duration, type Json, type ProposedEvent, v } from "../../src/sdk/holdfast.ts";

interface Checkpoint {
  tick: number;
  /** Unix milliseconds of that tick. */
  at: number;
}

const settings = v.strictObject({
  every: v.pipe(duration(), v.minValue(10, "at least 10ms"), v.description("Time between two events")),
  type: v.pipe(
    v.optional(v.pipe(v.string(), v.regex(/^[\w.:/-]{1,256}$/)), "interval.tick"),
    v.description("Type of the events"),
  ),
  data: v.pipe(
    v.optional(v.any()),
    v.description("Goes into each event's data: an object's keys beside tick, anything else under data"),
  ),
  count: v.pipe(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
    v.description("Stop after this many events in all; endless when absent"),
  ),
});

export default defineTrigger({
  name: "interval",
  description: "Emits an event at a fixed pace",
  settings,
  async *run({ settings, checkpoint, clock, signal }) {
    const last = readCheckpoint(checkpoint);
    let tick = last?.tick ?? 0;
    // A restart keeps the pace: an hourly tick does not come at once because the agent was restarted.
    const elapsed = last ? clock.wall() - last.at : settings.every;
    if (elapsed >= 0 && elapsed < settings.every) await clock.sleep(settings.every - elapsed, signal);
    if (!isOver(tick, settings.count)) {
      for await (const _ of clock.every(settings.every, signal)) {
        if (signal.aborted) return;
        tick++;
        const event: ProposedEvent = { type: settings.type, data: tickData(tick, settings.data) };
        yield { events: [event], checkpoint: { tick, at: clock.wall() } };
        if (isOver(tick, settings.count)) break;
      }
    }
    // Returning would look like a trigger that stopped by mistake.
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  },
});

function isOver(tick: number, count: number | undefined): boolean {
  return count !== undefined && tick >= count;
}

function tickData(tick: number, data: unknown): Json {
  if (data === undefined) return { tick };
  const isObject = typeof data === "object" && data !== null && !Array.isArray(data);
  return { ...(isObject ? (data as Record<string, Json>) : { data: data as Json }), tick };
}

function readCheckpoint(checkpoint: Json | undefined): Checkpoint | undefined {
  const parsed = v.safeParse(v.object({ tick: v.number(), at: v.number() }), checkpoint);
  return parsed.success ? parsed.output : undefined;
}
