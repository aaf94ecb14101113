import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FrameChannel } from "../../src/agent/workers/channel.ts";
import type { AgentFacts } from "../../src/model/plugin.ts";
import type { HandedSockets } from "../../src/agent/workers/network/worker-network.ts";
import type { Attack, Language, Target } from "./attack.ts";
import { type CpuUse, cpuUse } from "./family.ts";
import { pythonScript, shellScript } from "./scripts.ts";
import type { Started, Starter } from "./starter.ts";
import type { Aimed, World } from "./world.ts";

export interface Outcome {
  escaped: boolean;
  /** What shows it from outside, and what the attack said of itself. */
  evidence: string | null;
  said: string;
}

export interface RunPorts {
  world: World;
  start: Starter;
  /** What counts as its share of a processor: of an unconfined one what it wanted, whatever else the machine does. */
  share: keyof CpuUse;
  /** The attacking plugin, as one JavaScript file. */
  plugin: string;
}

const ARRIVAL_MS = 1000;
const MAX_FAILURES = 3;
const AGENT: AgentFacts = { id: "escape", labels: {}, home: "/" };

export type Kind = "host" | "sh" | "py";
export const kindOf = (language: Language): Kind =>
  language === "sh" || language === "py" ? language : "host";

/**
 * Runs attacks one after the other in as few workers as possible: where one dies with its worker, the rest go on in
 * another. All must be of one kind. `make` gives the attacks with their targets, which need the code's place.
 */
export async function runAttacks(
  ports: RunPorts,
  kind: Kind,
  make: (code: string) => (Aimed & Disposable)[],
): Promise<Map<string, Outcome>> {
  const folder = ports.world.codeFolder();
  const file = join(folder, { host: "plugin.js", sh: "attack.sh", py: "attack.py" }[kind]);
  writeFileSync(file, kind === "host" ? ports.plugin : "", { mode: 0o777 });
  const aimed = make(file);
  const outcomes = new Map<string, Outcome>();
  try {
    let left = aimed;
    for (let failures = 0; left.length > 0;) {
      const run = await runOnce(ports, kind, folder, file, left);
      for (const item of left) {
        const said = run.said.get(item.target.id);
        if (said === undefined) continue;
        outcomes.set(item.target.id, await outcomeOf(ports, item, said, run));
      }
      const before = left.length;
      left = left.filter((item) => !outcomes.has(item.target.id));
      if (left.length < before) continue;
      // A machine at its limit may need a second try; a worker that cannot start fails each time.
      if (++failures === MAX_FAILURES) {
        throw new Error(`a worker of the suite did not start: ${run.end}\n${run.output}`);
      }
    }
  } finally {
    for (const item of aimed) item[Symbol.dispose]();
  }
  return outcomes;
}

async function outcomeOf(ports: RunPorts, item: Aimed, said: string, run: Run): Promise<Outcome> {
  const look = () => ports.world.evidence(item, said, run.exitCode, run.cpuShare[ports.share]);
  const claims = item.attack.proof !== "cpu" && said.startsWith("ESCAPED");
  // A signal and a message need a moment to arrive.
  for (const end = performance.now() + ARRIVAL_MS; claims && look() === null && performance.now() < end;) {
    await Bun.sleep(10);
  }
  const evidence = look();
  return { escaped: evidence !== null || claims, evidence, said };
}

interface Task {
  attack: Attack;
  language: Language;
  target: Target;
}

interface Run {
  /** What each attack said, by its target's id; the one during which the worker ended gets how it ended. */
  said: Map<string, string>;
  exitCode: number | null;
  end: string;
  output: string;
  cpuShare: CpuUse;
}

async function runOnce(
  ports: RunPorts,
  kind: Kind,
  folder: string,
  file: string,
  left: Aimed[],
): Promise<Run> {
  const tasks: Task[] = left.map(({ attack, language, target }) => ({
    attack,
    language,
    target: { ...target, secret: "" },
  }));
  if (kind === "sh") writeFileSync(file, shellScript(tasks));
  if (kind === "py") writeFileSync(file, pythonScript(tasks));
  ports.world.look(left);
  const command = { host: [], sh: ["/bin/sh", file], py: ["/usr/bin/python3", file] }[kind];
  const started = await ports.start({ kind: kind === "host" ? "host" : "script", command, code: folder });
  const late = setTimeout(() => started.kill(), ports.world.patienceMs);
  const said = new Map<string, string>();
  let current: string | undefined;
  let share: Promise<CpuUse> = Promise.resolve({ used: 0, wanted: 0 });
  const reading = eachLine(started.stdout, (line) => {
    late.refresh();
    const [word, id] = line.split(" ", 2) as [string, string];
    if (word === "BEGIN") {
      current = id;
      if (left.length === 1 && left[0]!.attack.proof === "cpu") {
        share = cpuShareOf(started.pid);
        // It would go on for long, so that a slow harness sees it too.
        void share.then(() => started.kill());
      }
    } else if (word === "ESCAPED" || word === "STOPPED") {
      said.set(id, line);
      current = undefined;
    }
  });
  const errors = new Response(started.stderr).text().catch(() => "");
  await serve(started, file, kind === "host" ? tasks : [], ports.world.patienceMs);
  const end = await started.exited;
  const cpuShare = await share;
  clearTimeout(late);
  // What it left behind may keep its output open.
  const lastWords = ports.world.patienceMs / 10;
  await Promise.race([reading, Bun.sleep(lastWords)]);
  const output = (await Promise.race([errors, Bun.sleep(lastWords).then(() => "")])).slice(-2000);
  if (current !== undefined) said.set(current, `STOPPED ${current} the worker ended: ${end.text}`);
  return { said, exitCode: end.code, end: end.text, output, cpuShare };
}

/** Loads the plugin, makes the one call, and ends the worker when it is answered. */
async function serve(started: Started, file: string, tasks: Task[], patienceMs: number): Promise<void> {
  const load = () => send({ kind: "load", entry: { file }, describe: false });
  const channel = await FrameChannel.open(started.channelFd, {
    frame(frame) {
      const { kind, message } = frame as { kind: string; message?: string };
      if (kind === "failed") console.error(`suite: the worker failed: ${message}`);
      if (kind === "sockets") {
        void started.adopt!(frame as HandedSockets).then(() => {
          send({ kind: "go" });
          if (tasks.length > 0) load();
        });
      }
      if (kind === "ready") send(callOf(tasks, patienceMs * tasks.length));
      if (kind === "result" || kind === "error") started.kill();
    },
    closed() {},
  });
  const send = (frame: unknown) => channel.send(JSON.stringify(frame));
  if (!started.adopt && tasks.length > 0) load();
  void started.exited.then(() => channel.close());
}

function callOf(tasks: Task[], timeoutMs: number): unknown {
  return {
    kind: "call",
    id: 1,
    input: {
      tasks: tasks.map(({ attack, language, target }) => ({ attack: attack.id, language, target })),
    },
    key: "escape/1",
    run: "escape",
    step: "1",
    attempt: 1,
    timeoutMs,
    agent: AGENT,
  };
}

/** The channel of a script, which has nothing to say on it. */
export async function adoptChannel(started: Started): Promise<void> {
  await serve(started, "", [], 0);
}

/** Share of one processor over a good second of the spin, from when a governor has had the time to see it. */
async function cpuShareOf(pid: number): Promise<CpuUse> {
  await Bun.sleep(1000);
  const [from, fromMs] = [cpuUse(pid), performance.now()];
  await Bun.sleep(1200);
  const [to, elapsed] = [cpuUse(pid), performance.now() - fromMs];
  return { used: (to.used - from.used) / elapsed, wanted: (to.wanted - from.wanted) / elapsed };
}

export async function eachLine(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line);
  }
}
