import { expect, test } from "bun:test";
import { configFolder } from "../../testing/config-folder.ts";

const folder = configFolder();

/** The schedule stands in line 2. */
async function problemsOf(schedule: string): Promise<string[]> {
  const pipelines = "pipelines: { p: { params: { n: { type: int } }, steps: [{ id: a, action: x }] } }";
  const { problems } = await folder.load(`schedules:\n  - ${schedule}\n${pipelines}\n`);
  return problems;
}

test.each([
  [
    '{ name: a, cron: "30 2 30 2 *" }',
    '2:22: schedules[0].cron: the cron expression "30 2 30 2 *" cannot be used: no such day ever comes',
  ],
  [
    '{ name: a, cron: "61 * * * *" }',
    '2:22: schedules[0].cron: the cron expression "61 * * * *" cannot be used: value out of range',
  ],
  ['{ name: a, cron: "@every 10" }', '2:22: schedules[0].cron: "10" is no time of 1s or more'],
  ["{ name: a, every: 10ms }", '2:23: schedules[0].every: "10ms" is no time of 1s or more'],
  ["{ name: a, at: tomorrow }", '2:20: schedules[0].at: "tomorrow" is no time'],
  ['{ name: a, at: "2026-02-30T00:00:00Z" }', "2:20: schedules[0].at: "],
  [
    '{ name: a, cron: "@daily", time_zone: Europe/Berlim }',
    '2:43: schedules[0].time_zone: there is no time zone "Europe/Berlim"',
  ],
  ["{ name: a, every: 1m, time_zone: UTC }", "2:27: schedules[0].time_zone: a time zone goes with cron only"],
  ["{ name: a }", "2:5: schedules[0]: the schedule is never due"],
  ['{ name: a, cron: "@daily", every: 1m }', "2:32: schedules[0].every: cron, every do not go together"],
  ["{ name: a, every: 1m, run: q }", '2:32: schedules[0].run: there is no pipeline "q"'],
  [
    "{ name: a, every: 1m, params: { n: 1 } }",
    "2:27: schedules[0].params: params are for the pipeline of `run`",
  ],
  ["{ name: a, every: 1m, run: p }", "2:32: schedules[0].run: the pipeline p needs the parameter 'n'"],
  ["{ name: a, every: 1m, run: p, params: { n: x } }", "2:48: schedules[0].params.n: "],
  [
    '{ name: a, every: 1m, run: p, params: { n: "${{ 1 }}" } }',
    "2:48: schedules[0].params.n: templates are filled in only",
  ],
  [
    "{ name: a, every: 1m, missed: once, max_missed: 3 }",
    "2:41: schedules[0].max_missed: max_missed goes with `missed: all`",
  ],
  ["{ name: a, every: 1m, spread: 25h }", "2:35: schedules[0].spread: a spread is 24h at most"],
])("%s", async (schedule, problem) => {
  const problems = await problemsOf(schedule);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toStartWith(`agent.yaml:${problem}`);
});

test.each([
  '{ name: a, cron: "*/10 * * * * *", time_zone: Europe/Berlin, run: p, params: { n: 1 }, missed: all, max_missed: 5 }',
  "{ name: a, every: 1h30m, spread: 10m }",
  "{ name: a, on: init }",
  '{ name: a, cron: "@once" }',
])("%s is right", async (schedule) => expect(await problemsOf(schedule)).toEqual([]));

test("names are there once, rules know them, and no trigger has such a one", async () => {
  const { problems } = await folder.load(
    [
      "schedules: [{ name: a, every: 1m }, { name: a, every: 1m }]",
      "rules: [{ name: r, on: schedule:b, emit: { type: x } }, { name: s, on: schedule:a, emit: { type: x } }]",
      'triggers: [{ name: "schedule:a", plugin: x }]',
      "",
    ].join("\n"),
  );
  expect(problems).toEqual([
    expect.stringContaining('agent.yaml:1:45: schedules[1].name: the name "a" is taken already at line 1'),
    expect.stringContaining('agent.yaml:2:24: rules[0].on: there is no schedule "b"'),
    expect.stringContaining(
      'agent.yaml:3:20: triggers[0].name: the name "schedule:a" stands for the events of schedules',
    ),
  ]);
});
