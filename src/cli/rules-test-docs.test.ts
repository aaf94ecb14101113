/** The example of "Before you change a rule" in docs/rules.md prints what stands there. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { ruleDefinitions } from "../agent/config/definitions.ts";
import type { Compared } from "../agent/rehearsal/ports.ts";
import { openRehearsal } from "../agent/rehearse.ts";
import { parseDuration } from "../core/duration.ts";
import { configFolder } from "../testing/config-folder.ts";
import { RecorderRig } from "../testing/recorder-rig.ts";
import { printRehearsal } from "./rules-test-output.ts";

const FILE = join(import.meta.dir, "..", "..", "docs", "rules.md");
const [, section] = (await Bun.file(FILE).text()).split("## Before you change a rule");
const blocks = [...section!.matchAll(/^```([\w-]+)\n([\s\S]*?)^```$/gm)].map(([, kind, body]) => ({
  kind: kind!,
  body: body!.trimEnd(),
}));
const LINE = /^(\d+s)\s+(\w+)\s+(\w+)\s+(\w+)\s+(\{.*?\})/;

const folder = configFolder();

test("the example", async () => {
  const [before, proposed] = blocks.filter(({ kind }) => kind === "yaml").map(({ body }) => body);
  const events = blocks.find(({ kind }) => kind === "events")!.body.split("\n");
  const printed = blocks.find(({ kind }) => kind === "rules-test")!.body;
  const [command, ...expected] = printed.split("\n");
  expect(command).toBe("$ holdfast rules test --config new.yaml --since 7d");
  const rig = new RecorderRig();
  rig.pipelines.add("restart");
  await rig.open(ruleDefinitions((await folder.load(before!)).config!));
  let reachedMs = 0;
  for (const line of events) {
    const [, at, trigger, type, subject, data] = LINE.exec(line)!;
    await rig.clock.advance(parseDuration(at!) - reachedMs);
    reachedMs = parseDuration(at!);
    await rig.recorder.record(
      trigger!,
      [{ type: type!, subject: subject!, data: JSON.parse(data!) }],
      undefined,
    );
  }
  await rig.clock.advance(10_000);
  const rehearsal = await openRehearsal({
    store: join(rig.folder, "agent.db"),
    isCopy: false,
    agentId: "web-01",
    config: (await folder.load(proposed!)).config!,
    wanted: (nowMs) => ({ sinceMs: nowMs - parseDuration("7d"), untilMs: nowMs }),
    clock: rig.clock,
  });
  let out = "";
  const write = async (text: string) => void (out += text);
  const signal = new AbortController().signal;
  const options = { json: false, limit: 50, only: [], since: "7d", clock: rig.clock, signal };
  const output = {
    write,
    line: (text: string) => write(`${text}\n`),
    width: undefined,
    color: false,
    closed: signal,
  };
  expect(await printRehearsal(rehearsal, { ...options, out: output })).toBe(3);
  rehearsal.close();
  await rig.remove();
  expect(out.trimEnd().split("\n")).toEqual(expected);
});

test("every change and every kind of line is in the table", () => {
  const changes: Record<Compared["verdict"], true> = {
    same: true,
    added: true,
    removed: true,
    changed: true,
    failed: true,
    unknown: true,
  };
  const words = [...Object.keys(changes), "start", "run", "finding", "rule", "summary"];
  for (const word of words) expect(section).toContain(`\`${word}\``);
});
