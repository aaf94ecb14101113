import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { parse } from "yaml";
import { pipelineDefinitions, ruleDefinitions } from "../agent/config/definitions.ts";
import { maintenanceDefinitions } from "../agent/config/maintenance-definitions.ts";
import { RuleSet } from "../agent/rules/rule-set.ts";
import { Brake } from "../agent/silences/brake.ts";
import { Silences } from "../agent/silences/silences.ts";
import { MaintenanceWindows } from "../agent/silences/windows.ts";
import { parseDuration } from "../core/duration.ts";
import { silentLogger } from "../core/logger.ts";
import { type Config, configSchema } from "../model/config.ts";
import { type CloudEvent, eventSource } from "../model/event.ts";
import type { Json } from "../model/json.ts";
import { MUTES, parseMatch } from "../model/silence.ts";
import { ok, runRig } from "../testing/engine-rig.ts";
import { settled, VirtualClock } from "../testing/virtual-clock.ts";

const text = await Bun.file(join(import.meta.dir, "..", "..", "docs", "silences.md")).text();

/** Blocks of what happens, each with the YAML above it. */
function examples(): { config: Config; lines: string[] }[] {
  let config = v.parse(configSchema, {});
  const found: { config: Config; lines: string[] }[] = [];
  for (const [, kind, block] of text.matchAll(/^```(yaml|life)\n([\s\S]*?)^```$/gm)) {
    if (kind === "yaml") config = v.parse(configSchema, parse(block!));
    else found.push({ config, lines: block!.trim().split("\n") });
  }
  return found;
}

/** Rules, silences, brake and engine as the agent wires them, on manual time. */
async function life(config: Config) {
  const clock = new VirtualClock(Date.UTC(2026, 11, 1));
  const log = silentLogger();
  const zone = () => "UTC";
  const windows = new MaintenanceWindows(maintenanceDefinitions(config, zone), clock, log);
  const settings = new Map<string, Json>();
  const brake = new Brake({
    store: {
      setting: async (key) => settings.get(key),
      setSetting: async (key, value) => void settings.set(key, value),
    },
    windows: () =>
      windows
        .open()
        .flatMap(({ definition: { name, brake: brakes }, untilMs }) => (brakes ? [{ name, untilMs }] : [])),
    ...{ tell: async () => {}, clock, log },
  });
  windows.onChange(() => brake.update());
  let n = 0;
  const ids = { hex: () => `${n++}` };
  const store = { silences: async () => [], putSilence: async () => {} };
  const silences = new Silences({ store, windows, labels: {}, clock, ids, log });
  const told: string[] = [];
  const pipelines = [...pipelineDefinitions(config, () => "at-most-once").values()];
  const rig = runRig(
    pipelines,
    ({ run }) => {
      told.push(`run ${rig.store.runs.get(run)!.run.pipeline}`);
      return ok();
    },
    { clock, brake },
  );
  const rules = new RuleSet(ruleDefinitions(config), {
    agent: { id: "web-01", labels: {} },
    newId: () => `e-${n++}`,
    maxEventBytes: 10_000,
    quiet: (facts) => silences.of(facts),
  });
  rules.load({ states: [], entries: [], openFindings: [] }, clock.trusted());
  windows.start();
  const emit = (type: string) => {
    const source = eventSource("web-01", "manual");
    const event: CloudEvent = {
      specversion: "1.0",
      id: `e-${n++}`,
      source,
      type,
      time: "2026-12-01T00:00:00Z",
    };
    const times = { trustedMs: clock.trusted(), wallMs: clock.wall() };
    const { runs, derived } = rules.evaluate("manual", [{ event, timed: false }], times);
    for (const { pipeline, rule } of runs) rig.start({}, pipeline, { kind: "rule", by: rule });
    for (const { event: made } of derived) told.push(made.silenced ? `${made.type} silenced` : made.type);
  };
  const act = async (what: string): Promise<void> => {
    const [verb, argument, , time] = what.split(" ") as [string, string, string?, string?];
    if (verb === "silence")
      await silences.add({
        ...{ match: [parseMatch(argument)], mute: [...MUTES], forMs: parseDuration(time!) },
        ...{ comment: "c", by: "local:0" },
      });
    else if (verb === "brake" && argument === "on")
      await brake.on({ by: "local:0", reason: "", forMs: time === undefined ? null : parseDuration(time) });
    else if (verb === "brake") await brake.off("local:0");
    else if (verb === "passes") await clock.advance(parseDuration(argument));
    else if (verb === "clock")
      clock.jumpWall(parseDuration(argument.slice(1)) * (argument.startsWith("-") ? -1 : 1));
    else if (verb === "person") rig.start({}, pipelines[0]!.name, { kind: "manual", by: "local:0" });
    else emit(verb);
    await settled();
  };
  return { act, news: () => told.splice(0) };
}

describe("what docs/silences.md tells happens", () => {
  test("there are examples", () => expect(examples().length).toBe(3));
  test.each(examples().map((example) => [example.lines[0]!, example] as const))("%s", async (_, example) => {
    const { act, news } = await life(example.config);
    for (const line of example.lines) {
      const [what, wanted] = line.split("→").map((part) => part.trim());
      await act(what!);
      expect(news().toSorted(), line).toEqual((wanted ? wanted.split(", ") : []).toSorted());
    }
  });
});
