import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const text = await Bun.file(join(import.meta.dir, "../../docs/automation.md")).text();
interface Act {
  kind: "yaml" | "script" | "watch" | "command";
  /** What is written, or the command. */
  text: string;
  output: string;
}

/** All that the page does, in its order. */
const acts = [...text.matchAll(/^```(yaml|script|sh|console)\n([\s\S]*?)^```$/gm)].flatMap(
  ([, kind, block]): Act[] => {
    if (kind === "yaml" || kind === "script") return [{ kind, text: block!, output: "" }];
    if (kind === "sh")
      return block!
        .trim()
        .split("\n")
        .map((line) => ({ kind: "watch", text: line, output: "" }));
    return block!
      .split(/^\$ /m)
      .slice(1)
      .map((each) => {
        const [line, output = ""] = each.trimEnd().split(/\n([\s\S]*)/, 2);
        return { kind: "command", text: line!, output };
      });
  },
);

let agent: CliAgent;
let root: string;
/** What the page calls 3f9a12bc: the run that failed. */
let failed: string | undefined;
const watching: ReturnType<CliAgent["begin"]>[] = [];
/** Where the next YAML goes. */
const files = ["config/conf.d/errors.yaml", "new.yaml"];

beforeAll(async () => {
  agent = await cliAgent("{}");
  root = join(agent.base, `agent-${agent.id}`);
  writeFileSync(join(root, "app.log"), "");
});
afterAll(() => agent.close());

function words(line: string): string[] {
  return line
    .match(/"[^"]*"|\S+/g)!
    .map((word) => word.replaceAll('"', ""))
    .map((word) => (word === "3f9a12bc" ? failed!.slice(-8) : word === "new.yaml" ? join(root, word) : word));
}

/** Asks until it is as the page says: what a line sets off takes its time. */
async function command(line: string, output: string): Promise<void> {
  const pattern = new RegExp(
    `^${output
      .split(/(…| {2,})/)
      .map((piece) => (piece === "…" ? "[\\s\\S]*" : /^ {2,}$/.test(piece) ? " +" : RegExp.escape(piece)))
      .join("")}$`,
  );
  const [, ...given] = words(line);
  // Only what looks may be asked again.
  const looks = /^(runs (list|logs|explain)|rules|events|dead list|silence list|config)/.test(
    given.join(" "),
  );
  const deadline = performance.now() + (looks ? 60_000 : 0);
  for (;;) {
    const { exit, out, err } = await agent.cli(given);
    expect(exit, err).toBe(0);
    const shown = out.trimEnd().replaceAll(`${root}/`, "");
    if (performance.now() > deadline) expect(shown).toMatch(pattern);
    if (pattern.test(shown)) break;
  }
  const { items } = JSON.parse((await agent.cli(["runs", "list", "--state", "failed", "--json"])).out);
  failed ??= items[0]?.id;
}

async function play({ kind, text: what, output }: Act): Promise<void> {
  if (kind === "yaml") writeFileSync(join(root, files.shift()!), what);
  else if (kind === "script") {
    writeFileSync(join(root, "note.sh"), what);
    chmodSync(join(root, "note.sh"), 0o755);
  } else if (kind === "watch") watching.push(agent.begin(words(what).slice(1)));
  else if (what === "(start the agent again)") {
    await agent.stop();
    await agent.start();
  } else if (what.startsWith("echo ")) {
    const [, line, file] = /^echo "(.*)" >> (\S+)$/.exec(what)!;
    appendFileSync(join(root, file!), `${line}\n`);
  } else if (what.startsWith("cat ")) {
    expect((await Bun.file(join(root, what.slice(4))).text()).trimEnd()).toBe(output);
  } else await command(what, output);
}

test("the page does something", () => expect(acts.length).toBeGreaterThan(20));

test.each(acts.map((act) => [act.text.split("\n")[0], act] as const))("%s", async (_, act) => {
  await play(act);
});

test("what was watched has told of it, and ends with Ctrl-C", async () => {
  expect(watching.length).toBe(2);
  for (const child of watching) {
    const deadline = performance.now() + 60_000;
    while (!/log\.line|run note/.test(child.out()) && performance.now() < deadline) await Bun.sleep(20);
    expect(child.out()).toMatch(/log\.line|run note/);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
  }
});
