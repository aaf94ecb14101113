/** The examples of docs/rules.md do what is written below them. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { parseDuration } from "../../core/duration.ts";
import type { Config } from "../../model/config.ts";
import { configFolder } from "../../testing/config-folder.ts";
import { type Fed, RuleRig } from "../../testing/rule-rig.ts";
import { ruleDefinitions } from "../config/definitions.ts";
import type { Collected } from "./collected.ts";

const FILE = join(import.meta.dir, "..", "..", "..", "docs", "rules.md");
const LINE =
  /^(\d+\w+)(?:@(\S+))?(?:\s+([\w-]+)\s+([\w.]+)(?:\s+([\w-]+))?(?:\s+(\{.*?\}))?)?\s*(?:→\s*(.*))?$/;

const folder = configFolder();
const text = await Bun.file(FILE).text();
const blocks = [...text.matchAll(/^```(yaml|events)\n([\s\S]*?)^```$/gm)].map(([, kind, body]) => ({
  kind: kind!,
  body: body!,
}));

function outcomes(collected: Collected): string[] {
  const derived = collected.derived
    .map(({ event }) => event.type)
    .filter((type) => type !== "rule.debounced");
  return [...derived, ...collected.runs.map(({ pipeline }) => `run ${pipeline}`)];
}

function play(rig: RuleRig, line: string): { expected: string[]; found: string[] } {
  const parts = LINE.exec(line);
  if (parts === null) throw new Error(`no such line of events: ${line}`);
  const [, when, said, trigger, type, subject, data, then] = parts;
  const found = rig.pass(parseDuration(when!) - rig.now).flatMap(outcomes);
  if (trigger !== undefined) {
    const fed: Fed = { trigger, type: type!, data: data === undefined ? {} : JSON.parse(data) };
    if (subject !== undefined) fed.subject = subject;
    if (said !== undefined) fed.at = parseDuration(said);
    found.push(...outcomes(rig.collect(fed)));
  }
  return { expected: then === undefined ? [] : then.split(", "), found };
}

test("there are examples", () => {
  expect(blocks.filter(({ kind }) => kind === "events").length).toBeGreaterThan(6);
});

for (const [index, { kind, body }] of blocks.entries()) {
  if (kind !== "events") continue;
  const yaml = blocks.slice(0, index).findLast((block) => block.kind === "yaml")!.body;
  test(body.split("\n", 1)[0]!, async () => {
    const { config, problems } = await folder.load(yaml);
    expect(problems).toEqual([]);
    const rig = new RuleRig(ruleDefinitions(config as Config));
    for (const line of body.trimEnd().split("\n")) {
      const { expected, found } = play(rig, line);
      expect(found, line).toEqual(expected);
    }
    for (const { name, counters } of rig.rules.list()) expect(counters.lastError, name).toBeNull();
  });
}
