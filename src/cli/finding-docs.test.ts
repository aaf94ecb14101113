import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const text = await Bun.file(join(import.meta.dir, "../../docs/findings.md")).text();
const blocks = (kind: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, block]) => block!);
/** Commands of the page in their order, each with what it is to print. */
const commands = blocks("console").flatMap((block) =>
  block
    .split(/^\$ holdfast /m)
    .slice(1)
    .map((each) => each.trimEnd().split(/\n([\s\S]*)/, 2) as [line: string, output: string]),
);
/** How the page calls its finding. */
const ID = "3f9a12bc";

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(blocks("yaml")[0]!);
});
afterAll(() => agent.close());

test("there are commands", () => expect(commands.length).toBeGreaterThan(9));

test.each(commands)("%s", async (line, output) => {
  const listed = JSON.parse((await agent.cli(["finding", "list", "--state", "all", "--json"])).out);
  const id: string | undefined = listed.items[0]?.id.slice(-8);
  const words = line.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ""));
  const { exit, out, err } = await agent.cli(words.map((word) => (word === ID ? id! : word)));
  expect(exit, err).toBe(0);
  const pattern = output
    .split(/(…| {2,})/)
    .map((piece) => (piece === "…" ? "[\\s\\S]*" : /^ {2,}$/.test(piece) ? " +" : RegExp.escape(piece)))
    .join("");
  expect(out.trimEnd().replaceAll("\r", "")).toMatch(new RegExp(`^${pattern}$`));
});
