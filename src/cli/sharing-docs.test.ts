import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const text = readFileSync(join(import.meta.dir, "../../docs/sharing.md"), "utf8");
const blocks = (kind: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, block]) => block!);
const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
const HOLDFAST =
  executable === undefined
    ? [process.execPath, new URL("../main.ts", import.meta.url).pathname]
    : [executable];

/** Commands of the page in their order, each with what it is to print. */
const commands = blocks("console").flatMap((block) =>
  block
    .split(/^\$ /m)
    .slice(1)
    .map((each) => {
      const [line, ...lines] = each.trimEnd().split("\n");
      return { line: line!, output: lines.join("\n") };
    }),
);

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(blocks("yaml")[0]!);
  const folder = join(agent.base, `agent-${agent.id}`, "data", "plugins", "visits");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "plugin.ts"), blocks("ts")[0]!);
  await agent.stop();
  await agent.start();
});
afterAll(() => agent.close());

test("there are commands", () => expect(commands.length).toBeGreaterThan(12));

test.each(commands.map((each) => [each.line, each.output] as const))("%s", async (line, output) => {
  const [, input = "", words] = /^(?:echo (\S+) \| )?holdfast (.+)$/.exec(line)!;
  const child = Bun.spawn([...HOLDFAST, ...words!.split(" "), "--home", agent.base, "--id", agent.id], {
    env: { PATH: process.env.PATH, HOME: agent.base, TZ: "UTC" },
    ...{ stdin: new Blob([`${input}\n`]), stdout: "pipe", stderr: "pipe" },
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(await child.exited, err).toBe(0);
  const pattern = output
    .split("…")
    .map((piece) => RegExp.escape(piece))
    .join("[\\s\\S]*");
  expect(out.trimEnd()).toMatch(new RegExp(`^${pattern}$`));
  expect(out).not.toContain("t0k3n-of-the-api");
});

test("the page names every command and every call", () => {
  for (const word of ["get", "set", "delete", "list", "checkout", "update", "checkin"])
    expect(text).toContain(word);
  for (const verb of ["memory", "param", "secret"]) expect(text).toContain(`holdfast ${verb} `);
});
