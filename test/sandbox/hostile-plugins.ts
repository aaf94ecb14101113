/** Plugins as an attacker would write them, each a whole file for data/plugins. What they may not do they try anyway. */
export interface HostilePlugin {
  name: string;
  source: string;
  /** How its end is named, in `/readyz?verbose` and in the status. */
  named: RegExp;
}

/** Looks like any other for a while, so that the agent's start can be measured. */
const CALM_MS = 2000;

/** `body` may yield `escaped`: an event that must never come. */
function trigger(name: string, more: string, body: string): string {
  return `
import { readFileSync, writeFileSync, writeSync } from "node:fs";
import { defineTrigger, v } from "holdfast";
const escaped = (what) => ({ type: "escaped", data: { plugin: ${JSON.stringify(name)}, what: String(what).slice(0, 100) } });
export default defineTrigger({
  name: ${JSON.stringify(name)},
  description: "hostile",
  settings: v.object({ foreign: v.optional(v.string(), ""), port: v.optional(v.number(), 0) }),
  ${more}
  async *run({ settings, clock, signal }) {
    await clock.sleep(${CALM_MS}, signal);
    ${body}
    yield escaped("it is through");
  },
});
`;
}

export const HOSTILE: HostilePlugin[] = [
  {
    name: "looper",
    source: trigger("looper", `resources: { cpuTime: "1s" },`, "for (;;);"),
    named: /\bcpu\b/,
  },
  {
    name: "hog",
    source: trigger(
      "hog",
      `resources: { memory: "64MB" },`,
      `const kept = [];
    for (let at = 0; at < 64; at++) {
      kept.push(Buffer.alloc(16 << 20, 1));
      await clock.sleep(10, signal);
    }`,
    ),
    named: /\bmemory\b/,
  },
  {
    name: "filler",
    source: trigger(
      "filler",
      `resources: { disk: "8MB" },`,
      `for (let at = 0; at < 200; at++) {
      writeFileSync(process.env.HOME + "/file-" + at, Buffer.alloc(1 << 20, 1));
      await clock.sleep(20, signal);
    }`,
    ),
    named: /\bdisk\b/,
  },
  {
    name: "caller",
    source: trigger(
      "caller",
      "",
      `const answer = await fetch("http://127.0.0.1:" + settings.port + "/caller").then((response) => response.text());
    yield escaped(answer);`,
    ),
    named: /denied|refused|not permitted|EACCES|EPERM|[Uu]nable to connect|FailedToOpenSocket|permission/,
  },
  {
    name: "reader",
    source: trigger(
      "reader",
      "",
      `for (const path of ["/etc/shadow", settings.foreign]) {
      let content;
      try { content = readFileSync(path, "utf8"); } catch (error) { if (path === settings.foreign) throw error; }
      if (content !== undefined) yield escaped(content);
    }`,
    ),
    named: /denied|EACCES|EPERM|ENOENT/,
  },
  {
    name: "garbler",
    source: trigger(
      "garbler",
      "",
      `writeSync(3, Buffer.from("ffffffff7b7d", "hex"));
    await clock.sleep(60_000, signal);`,
    ),
    named: /frame|channel/,
  },
];
