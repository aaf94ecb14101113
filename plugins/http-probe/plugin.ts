import { defineTrigger, duration, type Json, type ProposedEvent, v } from "../../src/sdk/holdfast.ts";
import { probe } from "./probe.ts";

const status = v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(599));
const range = v.pipe(v.string(), v.regex(/^[1-5]\d\d-[1-5]\d\d$/, "a range of statuses like 200-399"));
const accepted = v.union([status, range]);

const settings = v.strictObject({
  url: v.pipe(
    v.string(),
    v.maxLength(2048),
    v.url(),
    v.regex(/^https?:\/\//, "an http:// or https:// address"),
    v.description("Address to ask"),
  ),
  every: v.pipe(duration("10s"), v.minValue(10, "at least 10ms"), v.description("Time between two checks")),
  timeout: v.pipe(
    duration("5s"),
    v.minValue(10, "at least 10ms"),
    v.description("A check without an answer after this time has failed"),
  ),
  failures: v.pipe(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 3),
    v.description("Failed checks in a row that make it down"),
  ),
  expect: v.pipe(
    v.optional(v.union([accepted, v.pipe(v.array(accepted), v.minLength(1), v.maxLength(50))]), "200-399"),
    v.description("Statuses that count as up: 200, a range like 200-399, or a list of these"),
  ),
  method: v.pipe(
    v.optional(v.picklist(["GET", "HEAD", "POST"]), "GET"),
    v.description("Method of the request"),
  ),
  contains: v.pipe(
    v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(1000))),
    v.description("Text that the first 64 KB of the answer must hold"),
  ),
});

const checkpointSchema = v.object({ up: v.nullable(v.boolean()), failures: v.number() });

export default defineTrigger({
  name: "http-probe",
  description:
    "Asks an address and emits probe.down while it does not answer as it should, probe.up when it does again",
  settings,
  permissions: { connect: ["${endpoint(settings.url)}"] },
  async *run({ settings, checkpoint, clock, signal }) {
    const parsed = v.safeParse(checkpointSchema, checkpoint);
    let { up, failures } = parsed.success ? parsed.output : { up: null, failures: 0 };
    for await (const _ of clock.every(settings.every, signal)) {
      if (signal.aborted) return;
      const began = clock.mono();
      const { status, error } = await probe(settings, signal);
      if (signal.aborted) return;
      const ms = Math.round(clock.mono() - began);
      let event: ProposedEvent | undefined;
      if (error === null) {
        if (up !== true)
          event = {
            type: "probe.up",
            severity: "info",
            data: facts(settings.url, failures, status, null, ms),
          };
        [up, failures] = [true, 0];
      } else if (++failures >= settings.failures) {
        up = false;
        event = {
          type: "probe.down",
          severity: "error",
          data: facts(settings.url, failures, status, error, ms),
        };
      }
      if (event)
        yield { events: [{ ...event, subject: settings.url.slice(0, 1024) }], checkpoint: { up, failures } };
    }
  },
});

function facts(url: string, failures: number, status: number | null, error: string | null, ms: number): Json {
  return { url, failures, status, error, ms };
}
