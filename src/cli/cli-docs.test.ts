import { expect, test } from "bun:test";
import type { CommandDef } from "citty";
import { join } from "node:path";
import { checkArguments } from "./strict-args.ts";
import { root } from "./cli.ts";

const text = await Bun.file(join(import.meta.dir, "../../docs/cli.md")).text();
const lines = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block]) => block!.trim().split("\n"));

/** The command that the words name, and the words after its name. */
async function resolve(words: string[]): Promise<{ command: CommandDef<any>; rest: string[] }> {
  let command: any = root;
  let index = 0;
  for (; command.subCommands?.[words[index]!]; index++) {
    const next = command.subCommands[words[index]!];
    command = typeof next === "function" ? await next() : next;
  }
  return { command, rest: words.slice(index) };
}

test("the page has examples", () => expect(lines.length).toBeGreaterThan(20));

test.each(lines)("%s", async (line) => {
  const [program, ...words] = line.match(/'[^']*'|\S+/g)!;
  const { command, rest } = await resolve(words);
  expect(program).toBe("holdfast");
  expect(command.run).toBeFunction();
  const flags = rest
    .filter((word) => word.startsWith("--"))
    .map((word) => [word.slice(2).replace(/^no-/, ""), "value"]);
  checkArguments(command.args as never, { ...Object.fromEntries(flags), _: [] });
});
