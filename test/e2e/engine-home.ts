/** The home of an agent whose rules and pipelines use everything that the engine has, and whose scripts tell what they do. */
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const ID = "web-01";

/** Lines of these kinds start a run each; `hit` is what the window and the cooldown count; `asks` waits for a person. */
export const STARTING = ["graph", "list", "broken", "locked", "late", "outer", "quick"] as const;
export type Kind = (typeof STARTING)[number] | "hit" | "calm" | "asks";

export interface Line {
  text: string;
  kind: Kind;
  key: string;
}

/** What a script told of one attempt, in the order in which it happened. */
export interface Told {
  what: "begin" | "end" | "fail";
  key: string;
  run: string;
  step: string;
  attempt: number;
}

export class EngineHome {
  readonly root: string;
  readonly database: string;
  readonly log: string;
  readonly journal: string;
  readonly written: Line[] = [];
  readonly #script: string;

  /** `outside`: where the journal is, when the home's own disk is what the test is about. */
  constructor(
    readonly base: string,
    outside?: string,
  ) {
    this.root = join(base, `agent-${ID}`);
    this.database = join(this.root, "data", "state", "agent.db");
    this.log = join(outside ?? this.root, "app.log");
    this.journal = join(outside ?? this.root, "journal");
    mkdirSync(join(this.root, "config"), { recursive: true });
    writeFileSync(this.log, "");
    writeFileSync(this.journal, "");
    this.#script = join(outside ?? this.root, "work.sh");
    writeFileSync(this.#script, scriptText(this.journal));
    chmodSync(this.#script, 0o755);
    this.follow("start");
  }

  /** Where the log is read from by an agent that does not know how far it was read. */
  follow(from: "start" | "end"): void {
    const { log, journal } = this;
    const text = configuration({ log, journal, script: this.#script, from });
    writeFileSync(join(this.root, "config", "agent.yaml"), text);
  }

  /** Appends lines of these kinds in one write. */
  write(kinds: Kind[]): void {
    let text = "";
    for (const kind of kinds) {
      const n = this.written.length;
      const line: Line = { kind, key: n % 2 === 0 ? "even" : "odd", text: "" };
      line.text = `${n} ${kind} ${line.key}`;
      this.written.push(line);
      text += `${line.text}\n`;
    }
    appendFileSync(this.log, text);
  }

  told(): Told[] {
    if (!existsSync(this.journal)) return [];
    const lines = readFileSync(this.journal, "utf8").split("\n");
    return lines.slice(0, -1).map((line) => {
      const [what, key, attempt] = line.split(" ") as [Told["what"], string, string];
      const slash = key.indexOf("/");
      return { what, key, run: key.slice(0, slash), step: key.slice(slash + 1), attempt: Number(attempt) };
    });
  }
}

/** The effect is the line `begin`; the sleep is where a kill leaves the outcome unknown. */
function scriptText(journal: string): string {
  return [
    "#!/bin/sh",
    `echo "begin $HOLDFAST_KEY $HOLDFAST_ATTEMPT" >> ${journal}`,
    "sleep 0.02",
    'if [ "$1" = bad ] || { [ "$1" = flaky ] && [ "$HOLDFAST_ATTEMPT" = 1 ]; }; then',
    `  echo "fail $HOLDFAST_KEY $HOLDFAST_ATTEMPT" >> ${journal}`,
    "  exit 1",
    "fi",
    `echo "end $HOLDFAST_KEY $HOLDFAST_ATTEMPT" >> ${journal}`,
    "",
  ].join("\n");
}

interface Places {
  log: string;
  journal: string;
  script: string;
  from: string;
}

function configuration({ log, journal, script, from }: Places): string {
  const call = (how: string) => `{ command: [${script}, ${how}], write: [${journal}] }`;
  const again = (id: string, more = "", how = "well") =>
    `      - { id: ${id}, action: exec, with: ${call(how)}, effect: idempotent, retry: { attempts: 3, initial: 10ms }${more} }`;
  const once = (id: string, more = "") =>
    `      - { id: ${id}, action: exec, with: ${call("well")}, effect: at-most-once${more} }`;
  const undo = `, undo: { action: exec, with: ${call("well")}, effect: idempotent, retry: { attempts: 3, initial: 10ms } }`;
  const starts = STARTING.map(
    (kind) => `  - { name: ${kind}, on: app, when: 'event.data.line.contains(" ${kind} ")', run: ${kind} }`,
  );
  const hits = `on: app, when: 'event.data.line.contains(" hit ")', by: 'event.data.line.endsWith("even") ? "even" : "odd"'`;
  return [
    "limits: { steps: 8 }",
    "triggers:",
    `  - { name: app, plugin: file-tail, with: { path: ${log}, from: ${from} } }`,
    "rules:",
    ...starts,
    `  - { name: cool, ${hits}, cooldown: 1h, run: quick }`,
    `  - { name: burst, ${hits}, window: { over: 1h, is: window.count % 5 == 0 }, emit: { type: app.burst } }`,
    `  - { name: asks, on: app, when: 'event.data.line.contains(" asks ")', run: asks }`,
    "  - { name: bursts, on: 'rule:burst', type: app.burst, run: quick }",
    "pipelines:",
    "  graph:",
    "    concurrency: 4",
    "    steps:",
    again("a"),
    once("b", `, needs: [a]${undo}`),
    again("c", ", needs: [a]", "flaky"),
    again("d", ", needs: [b, c]"),
    "    finally:",
    again("last"),
    again("first"),
    "    on_failure:",
    again("tell"),
    "  list:",
    "    steps:",
    once("each", ", foreach: { in: '[1, 2, 3]', concurrency: 2 }"),
    again("after", ", needs: [each]"),
    "    finally:",
    again("close"),
    "  broken:",
    "    steps:",
    again("out", undo),
    once("put", `, needs: [out]${undo}`),
    again("bad", ", needs: [put]", "bad").replace("attempts: 3", "attempts: 2"),
    "    finally:",
    again("close"),
    "    on_failure:",
    again("tell"),
    "  locked:",
    "    exclusive: { lock: one }",
    "    steps:",
    again("enter"),
    once("leave", ", needs: [enter]"),
    "    finally:",
    again("close"),
    "  late:",
    "    steps:",
    again("free"),
    again("held", ", needs: [free], exclusive: { lock: two }"),
    once("still", ", needs: [held]"),
    "  outer:",
    "    steps:",
    "      - { id: child, pipeline: inner }",
    again("after", ", needs: [child]"),
    "    on_failure:",
    again("tell"),
    "  asks:",
    "    exclusive: { lock: asked }",
    "    steps:",
    once("before"),
    "      - { id: sure, needs: [before], approval: { text: 'Really?', approvers: ['*'] } }",
    once("then", ", needs: [sure]"),
    "  inner:",
    "    steps:",
    once("x"),
    again("y", ", needs: [x]", "flaky"),
    "    finally:",
    again("close"),
    "  quick:",
    "    steps:",
    once("only"),
    "",
  ].join("\n");
}
