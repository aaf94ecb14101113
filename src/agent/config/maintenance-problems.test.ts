import { expect, test } from "bun:test";
import { configFolder } from "../../testing/config-folder.ts";

const folder = configFolder();

/** The window stands in line 2. */
async function problemsOf(window: string): Promise<string[]> {
  const rest = `rules: [{ name: front is down, on: manual, run: p }]
pipelines: { p: { steps: [{ id: a, action: x }] } }`;
  const { problems } = await folder.load(`maintenance:\n  - ${window}\n${rest}\n`);
  return problems;
}

const OPEN = 'schedule: "0 2 * * 0", for: 2h';
const ONCE = "from: 2027-01-01T00:00:00Z, until: 2027-01-01T04:00:00Z";

test.each([
  `{ name: a, ${OPEN}, match: { rule: "front*" } }`,
  `{ name: a, ${OPEN}, time_zone: Europe/Berlin, match: { rule: front is down, label.site: ber* }, mute: [runs] }`,
  `{ name: a, ${ONCE}, brake: true }`,
])("%s is right", async (window) => expect(await problemsOf(window)).toEqual([]));

test.each([
  [
    `{ name: a, ${OPEN} }`,
    "2:5: maintenance[0]: the window does nothing; expected a match and something to mute, or brake: true",
  ],
  [`{ name: a, ${OPEN}, match: { rule: "*" }, mute: [] }`, "the window does nothing"],
  ["{ name: a, match: { rule: '*' } }", "2:5: maintenance[0]: the window never opens"],
  [`{ name: a, ${OPEN}, match: { rule: front is dow } }`, 'there is no rule "front is dow"'],
  [`{ name: a, ${OPEN}, match: { rule: front is dow } }`, 'did you mean "front is down"?'],
  [`{ name: a, ${OPEN}, match: { pipeline: q } }`, 'there is no pipeline "q"'],
  [`{ name: a, ${OPEN}, match: { rul: x } }`, 'did you mean "rule"?'],
  [`{ name: a, ${OPEN}, match: { severity: eror } }`, "did you mean error?"],
  [`{ name: a, ${OPEN}, match: { rule: "*" }, mute: [run] }`, "maintenance[0].mute[0]"],
  ['{ name: a, schedule: "30 2 30 2 *", for: 1h, brake: true }', "no such day ever comes"],
  ['{ name: a, schedule: "0 2 * * *", brake: true }', "nothing says how long the window is open"],
  ['{ name: a, schedule: "0 2 * * *", for: 8d, brake: true }', "maintenance[0].for: a window that comes"],
  [
    '{ name: a, schedule: "0 2 * * *", for: 1h, time_zone: Europe/Berlim, brake: true }',
    "there is no time zone",
  ],
  [`{ name: a, ${OPEN}, ${ONCE}, brake: true }`, "schedule and from do not go together"],
  ["{ name: a, from: 2027-01-01T00:00:00Z, brake: true }", "nothing says when the window closes"],
  ["{ name: a, from: tomorrow, until: 2027-01-01T00:00:00Z, brake: true }", '"tomorrow" is no time'],
  [
    "{ name: a, from: 2027-01-02T00:00:00Z, until: 2027-01-01T00:00:00Z, brake: true }",
    "closes before it opens",
  ],
  [`{ name: a, ${ONCE}, for: 1h, brake: true }`, "for goes with schedule"],
])("%s: %s", async (window, told) => {
  const problems = await problemsOf(window);
  expect(problems.join("\n")).toContain(told);
});

test("names are there once; a later layer replaces a window as a whole", async () => {
  const { problems } = await folder.load(
    `maintenance: [{ name: a, ${OPEN}, brake: true }, { name: a, ${OPEN}, brake: true }]`,
  );
  expect(problems.join("\n")).toContain('maintenance[1].name: the name "a" is taken already');
});
