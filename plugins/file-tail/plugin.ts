import { resolve } from "node:path";
import { defineTrigger, duration, type Json, size, v } from "../../src/sdk/holdfast.ts";
import { type Checkpoint, checkpointSchema, Follower } from "./follower.ts";
import { Waker } from "./waker.ts";

/** Looks are at least so far apart: under a stream of writes each then finds several lines. */
const PACE_MS = 2;

const settings = v.strictObject({
  path: v.pipe(
    v.string(),
    v.minLength(1),
    v.maxLength(4096),
    v.description("The file; it may not exist yet. A relative path is taken from the agent's home"),
  ),
  from: v.pipe(
    v.optional(v.picklist(["start", "end"]), "end"),
    v.description(
      "Where to begin in a file that is there at the very first start; later ones are read as a whole",
    ),
  ),
  every: v.pipe(
    duration("250ms"),
    v.minValue(10, "at least 10ms"),
    v.description("Looks at the file at this pace where the system gives no notice of a change"),
  ),
  rotate_wait: v.pipe(
    duration("5s"),
    v.description("A file that was rotated away is read until nothing was added for this time"),
  ),
  max_line: v.pipe(
    size("64KB"),
    v.minValue(256, "at least 256B"),
    v.maxValue(128 * 1024, "at most 128KB"),
    v.description("A longer line is cut here, and its event says truncated"),
  ),
  type: v.pipe(
    v.optional(v.pipe(v.string(), v.regex(/^[\w.:/-]{1,256}$/)), "log.line"),
    v.description("Type of the events"),
  ),
  match: v.pipe(
    v.optional(v.pipe(v.string(), v.maxLength(1000), v.check(isPattern, "a regular expression"))),
    v.description("Only lines that this regular expression finds become events"),
  ),
});

export default defineTrigger({
  name: "file-tail",
  description: "Emits an event for each line added to a file, through rotation and restarts",
  settings,
  // The folder, for the files that rotation makes there; the file itself, which may be a link to another folder.
  permissions: { read: ["${folder(settings.path)}?", "${settings.path}?"] },
  async *run({ settings, checkpoint, lost, agent, clock, log, signal }) {
    const path = resolve(agent.home, settings.path);
    const { type, match, max_line: maxLine, rotate_wait: rotateWaitMs } = settings;
    const from = lost ? "end" : settings.from;
    const known = readCheckpoint(checkpoint);
    if (checkpoint !== undefined && checkpoint !== null && !known) {
      log.warn("the stored position cannot be read; starting anew", { path });
    }
    const options = { path, from, type, match, maxLine, rotateWaitMs, checkpoint: known, clock, log, signal };
    const follower = new Follower(options);
    const waker = new Waker(path, clock, signal);
    try {
      while (!signal.aborted) {
        waker.arm();
        const began = clock.mono();
        yield* follower.pass();
        // The new watch is there before the next look, so that nothing falls between the two.
        if (follower.switched) waker.reset();
        if (follower.switched || follower.again) continue;
        await waker.wait(settings.every);
        if (clock.mono() - began < PACE_MS) await clock.sleep(PACE_MS, signal);
      }
    } finally {
      waker.close();
      await follower.close();
    }
  },
});

function isPattern(text: string): boolean {
  try {
    return new RegExp(text) instanceof RegExp;
  } catch {
    return false;
  }
}

function readCheckpoint(checkpoint: Json | undefined): Checkpoint | undefined {
  const parsed = v.safeParse(checkpointSchema, checkpoint);
  return parsed.success ? parsed.output : undefined;
}
