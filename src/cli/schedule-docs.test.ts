import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { parse } from "yaml";
import { ruleDefinitions, scheduleDefinitions } from "../agent/config/definitions.ts";
import { parseDuration } from "../core/duration.ts";
import { configSchema } from "../model/config.ts";
import { nextDue, type ScheduleDefinition } from "../model/schedule.ts";
import { ScheduleRig } from "../testing/schedule-rig.ts";
import { settled } from "../testing/virtual-clock.ts";

const text = await Bun.file(join(import.meta.dir, "..", "..", "docs", "schedules.md")).text();

interface Example {
  schedules: ScheduleDefinition[];
  rules: ReturnType<typeof ruleDefinitions>;
  pipelines: string[];
  lines: string[];
}

/** Blocks of one kind, each with the YAML above it. */
function examples(kind: "life" | "due"): Example[] {
  let config = v.parse(configSchema, {});
  const found: Example[] = [];
  for (const [, name, block] of text.matchAll(/^```(yaml|life|due)\n([\s\S]*?)^```$/gm)) {
    if (name === "yaml") config = v.parse(configSchema, parse(block!));
    else if (name === kind)
      found.push({
        schedules: scheduleDefinitions(config, () => "UTC"),
        rules: ruleDefinitions(config),
        pipelines: Object.keys(config.pipelines),
        lines: block!.trim().split("\n"),
      });
  }
  return found;
}

/** What has happened since the last line: `NAME 00:10:00 +4`, `NAME missed 5`, and `NAME` for a start. */
async function news(rig: ScheduleRig, seen: number): Promise<string[]> {
  const events = (await rig.events()).slice(seen);
  return events
    .filter(({ type }) => type === "schedule.due" || type === "schedule.missed")
    .map(({ type, subject, id, data }) => {
      const { scheduledMs, missed } = data as { scheduledMs: number; missed: number };
      if (type === "schedule.missed") return `${subject} missed ${missed}`;
      if (id.includes("@init-")) return subject!;
      const time = new Date(scheduledMs).toISOString().slice(11, 19);
      return missed > 0 ? `${subject} ${time} +${missed}` : `${subject} ${time}`;
    });
}

async function live(rig: ScheduleRig, { schedules, rules }: Example, what: string): Promise<void> {
  const [verb, argument] = what.split(" ") as [string, string];
  if (verb === "runs") await rig.clock.advance(parseDuration(argument));
  else if (verb === "pause") await rig.schedules.pause(argument, "local:0");
  else if (verb === "resume") await rig.schedules.resume(argument, "local:0");
  else if (verb === "clock")
    rig.clock.jumpWall(parseDuration(argument.slice(1)) * (argument.startsWith("-") ? -1 : 1));
  else if (verb === "away") {
    await rig.close();
    await rig.clock.advance(parseDuration(argument));
    await rig.open(schedules, rules);
    await settled();
  } else throw new Error(`what is ${what}?`);
}

describe("what docs/schedules.md tells of a life happens", () => {
  test.each(examples("life").map((example) => [example.lines.join("; "), example] as const))(
    "%s",
    async (_, example) => {
      await using rig = new ScheduleRig();
      for (const pipeline of example.pipelines) rig.pipelines.add(pipeline);
      await rig.open(example.schedules, example.rules);
      for (const line of example.lines) {
        const seen = (await rig.events()).length;
        const [what, wanted] = line.split("→").map((part) => part.trim());
        await live(rig, example, what!);
        const expected = wanted ? wanted.split(", ") : [];
        expect((await news(rig, seen)).toSorted(), line).toEqual(expected.toSorted());
      }
    },
    30_000,
  );
});

describe("times in docs/schedules.md", () => {
  const lines = examples("due").flatMap(({ schedules, lines: all }) =>
    all.map((line) => [line, schedules] as const),
  );
  test("there are some", () => expect(lines.length).toBeGreaterThan(4));
  test.each(lines)("%s", (line, schedules) => {
    const [, name, from, wanted] = /^(\S+)\s+from (\S+): (.*)$/.exec(line)!;
    const { timing } = schedules.find((each) => each.name === name)!;
    let after = Date.parse(from!);
    for (const time of wanted!.split(", ")) {
      const next = nextDue(timing, 0, after)!;
      after = next.atMs;
      const shown = new Date(next.atMs).toISOString().replace(".000Z", "Z");
      expect(next.shift === null ? shown : `${shown} ${next.shift}`).toBe(time);
    }
  });
});
