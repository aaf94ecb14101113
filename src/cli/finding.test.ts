import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const CONFIG = `
rules:
  - { name: low, on: manual, type: low, finding: { severity: error, title: "=low", key: "\${{ event.subject }}" } }
  - { name: worse, on: manual, type: worse, finding: { severity: critical, title: worse, key: worse } }
  - { name: brief, on: manual, type: brief, finding: { title: brief, resolve_after: 1s } }
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
  for (const [type, subject] of [
    ["worse", "a"],
    ["low", "b"],
    ["low", "c"],
  ])
    await agent.cli(["events", "emit", type!, "--subject", subject!]);
});
afterAll(() => agent.close());

const json = async (args: string[]): Promise<any> => JSON.parse((await agent.cli([...args, "--json"])).out);
const list = async (...flags: string[]): Promise<any[]> => (await json(["finding", "list", ...flags])).items;
const idOf = async (key: string): Promise<string> =>
  (await list("--state", "all")).find((each) => each.key === key).id;

/** The command line is asked again until it says so. */
async function until(what: string, asked: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await asked()); tries++)
    if (tries > 300) throw new Error(`waited in vain for ${what}`);
}

test("list: the most severe first, by state, severity, rule and time", async () => {
  expect((await list()).map((each) => each.key)).toEqual(["worse", "c", "b"]);
  expect((await list("--severity", "critical")).map((each) => each.key)).toEqual(["worse"]);
  expect((await list("--rule", "low", "--since", "1h")).map((each) => each.key)).toEqual(["c", "b"]);
  expect(await list("--state", "acknowledged")).toEqual([]);
});

test("exit codes: a wrong flag, an unknown finding, an id that several have, a refused change", async () => {
  const exit = async (...args: string[]) => (await agent.cli(["finding", ...args])).exit;
  expect(await exit("list", "--state", "shut")).toBe(2);
  expect(await exit("list", "--since", "yesterday")).toBe(2);
  expect(await exit("list", "--severity", "loud")).toBe(2);
  expect(await exit("export", "--format", "xml")).toBe(2);
  expect(await exit("note", await idOf("b"))).toBe(2);
  expect(await exit("show", "nobody-has-this")).toBe(3);
  expect(await exit("resolve", "nobody-has-this")).toBe(3);
  expect(await exit("note", await idOf("b"), "x".repeat(2001))).toBe(1);
  expect(await exit("acknowledge", await idOf("b"))).toBe(0);
  const twice = await agent.cli(["finding", "acknowledge", await idOf("b")]);
  expect([twice.exit, twice.err]).toEqual([1, expect.stringContaining("is acknowledged, and cannot be")]);
  const several = await agent.cli(["finding", "show", (await idOf("b")).slice(0, 4)]);
  expect([several.exit, several.err]).toEqual([1, expect.stringContaining("several findings fit")]);
});

test("what was answered survives a kill", async () => {
  await agent.cli(["finding", "note", await idOf("b"), "before the end"]);
  await agent.cli(["finding", "resolve", await idOf("c"), "--false-positive", "--reason", "a test"]);
  await agent.stop("SIGKILL");
  await agent.start();
  expect(await json(["finding", "show", await idOf("b")])).toMatchObject({
    state: "acknowledged",
    notes: [{ text: "before the end" }],
    event: { source: "urn:holdfast:agent:web-01/manual" },
  });
  expect(await json(["finding", "show", await idOf("c")])).toMatchObject({
    state: "resolved",
    resolution: "false_positive",
    reason: "a test",
  });
  const events = (await json(["events", "list", "--type", "finding.resolved"])).items;
  expect(events).toMatchObject([{ event: { data: { key: "c", falsePositive: true, reason: "a test" } } }]);
  await agent.cli(["events", "emit", "low", "--subject", "c"]);
  expect((await list("--rule", "low")).map((each) => [each.key, each.count])).toEqual([
    ["c", 1],
    ["b", 1],
  ]);
});

test("one with resolve_after ends by itself", async () => {
  await agent.cli(["events", "emit", "brief"]);
  const brief = async () => (await list("--state", "all", "--rule", "brief"))[0];
  await until("the finding to be over", async () => (await brief())?.state === "resolved");
  expect(await brief()).toMatchObject({ resolvedBy: "time", resolution: "resolved" });
});

test("export: JSON that parses, CSV that no spreadsheet computes", async () => {
  const all = JSON.parse((await agent.cli(["finding", "export"])).out);
  expect(all.map((each: any) => each.id).toSorted()).toEqual(
    (await list("--state", "all")).map((each) => each.id).toSorted(),
  );
  const { out } = await agent.cli(["finding", "export", "--format", "csv", "--rule", "low"]);
  const [header, ...rows] = out.trimEnd().split("\r\n");
  expect(header).toStartWith("id,state,severity,rule,key,title,");
  expect(rows).toHaveLength(3);
  for (const row of rows) expect(row).toContain(",'=low,");
  expect(JSON.parse((await agent.cli(["finding", "export", "--severity", "debug"])).out)).toEqual([]);
});
