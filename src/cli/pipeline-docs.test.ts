import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { parse } from "yaml";
import { pipelineDefinitions } from "../agent/config/definitions.ts";
import { planItems, planLease } from "../agent/runs/plan-lease.ts";
import { planAsk, planDecision } from "../agent/runs/plan-waits.ts";
import { parameterSchema, pipelineSchema, stepSchema } from "../model/config-pipeline.ts";
import { configSchema } from "../model/config.ts";
import type { PipelineDefinition } from "../model/pipeline.ts";
import { hasEnded } from "../model/run.ts";
import { bad, ok, RunRig } from "../testing/run-rig.ts";

const text = await Bun.file(join(import.meta.dir, "..", "..", "docs", "pipelines.md")).text();

/** Runs of the document, each with the last pipeline of the YAML above it. */
function examples(): { title: string; definition: PipelineDefinition; lines: string[] }[] {
  let definition: PipelineDefinition | undefined;
  const found: ReturnType<typeof examples> = [];
  for (const [, kind, block] of text.matchAll(/^```(yaml|run)\n([\s\S]*?)^```$/gm)) {
    if (kind === "yaml") {
      const config = v.parse(configSchema, parse(block!));
      definition = [...pipelineDefinitions(config, () => "at-most-once").values()].at(-1)!;
    } else {
      const lines = block!.trim().split("\n");
      found.push({ title: `${definition!.name}: ${lines.at(-1)}`, definition: definition!, lines });
    }
  }
  return found;
}

/** Begins a step as the line says, once it may; returns what is to be done to end it. */
function begin(rig: RunRig, id: string, what: string): () => void {
  const step = rig.step(id);
  expect(`${id} is ${step.state}`).toBe(`${id} is queued`);
  if (what === "is approved" || what === "is denied") {
    const approval = { text: "?", approvers: ["*"], strict: true, deadlineMs: 1e9 };
    rig.apply(planAsk(rig.live, step, approval, rig.now));
    const answer = { approve: what === "is approved", by: "local:0", note: "" };
    return () => void rig.apply(planDecision(rig.live, rig.step(id), answer, rig.now));
  }
  const items = /^has (\d+) items$/.exec(what);
  if (items) {
    rig.apply(planItems(rig.live, step, Array(Number(items[1])).fill(null), rig.now));
    return () => {};
  }
  rig.apply(planLease(rig.live, step, rig.now));
  if (what === "succeeds") return () => void rig.end(id, ok());
  return () => {
    rig.end(id, bad());
    expect(rig.step(id).state === "queued").toBe(what.endsWith("tried again"));
  };
}

describe("the runs in docs/pipelines.md go as it says", () => {
  test.each(examples().map((example) => [example.title, example] as const))("%s", (_title, example) => {
    const rig = new RunRig(example.definition, {});
    let atOnce: (() => void)[] = [];
    for (const line of example.lines.slice(0, -1)) {
      const [, id, what] = /^(\S+)\s+(.+)$/.exec(line)!;
      // What may begin already begins beside what is under way.
      const open = rig.live.steps.get(id!)?.state === "queued";
      if (!open) for (const end of atOnce.splice(0)) end();
      atOnce.push(begin(rig, id!, what!));
    }
    for (const end of atOnce) end();
    const [, state, reason] = /^→ (\w+)(?:: (.+))?$/.exec(example.lines.at(-1)!)!;
    const left = [...rig.live.steps.values()].filter((row) => !hasEnded(row.state));
    expect(left.map((row) => row.stepId)).toEqual([]);
    expect(rig.live.run.state).toBe(state as never);
    if (reason !== undefined) expect(rig.live.run.reason).toStartWith(reason);
  });
});

test("docs/pipelines.md names every key of a pipeline, a step and a parameter", () => {
  const keys = [pipelineSchema, stepSchema, parameterSchema].flatMap((schema) => Object.keys(schema.entries));
  expect(keys.filter((key) => !text.includes(key))).toEqual([]);
});
