import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;
const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
const HOLDFAST = executable === undefined ? [process.execPath, MAIN] : [executable];

export interface Result {
  exit: number;
  out: string;
  err: string;
}

export interface CliAgent {
  base: string;
  id: string;
  /** Runs a command of the command line with `--home` and `--id` of this agent. */
  cli(args: string[], env?: Record<string, string>): Promise<Result>;
  /** The same without them; for flags of its own. */
  bare(args: string[], env?: Record<string, string>): Promise<Result>;
  /** A command that goes on: its output so far, and its end. */
  begin(args: string[]): {
    out(): string;
    err(): string;
    kill(signal: NodeJS.Signals): void;
    exited: Promise<number>;
  };
  /** Runs a command on a terminal; answers each prompt that ends in `? ` or `] ` with the next line. */
  onTerminal(args: string[], answers: string[]): Promise<Result>;
  /** Asks the agent to end; with `SIGKILL` it has no say. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** For tests of the command line: a real agent process, from source or HOLDFAST_TEST_EXECUTABLE, with files in its home. */
export async function cliAgent(config: string, scripts: Record<string, string> = {}): Promise<CliAgent> {
  const base = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
  const id = "web-01";
  const root = join(base, `agent-${id}`);
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  writeFileSync(join(root, "config", "conf.d", "test.yaml"), config);
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(root, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(root, name), 0o755);
  }
  const here = ["--home", base, "--id", id];
  const environment = (env: Record<string, string> = {}) => ({
    ...{ PATH: process.env.PATH, HOME: base, XDG_STATE_HOME: join(base, "state"), TZ: "UTC" },
    ...env,
  });
  const pipes = { stdin: "ignore", stdout: "pipe", stderr: "pipe" } as const;
  const bare = async (args: string[], env?: Record<string, string>): Promise<Result> => {
    const child = Bun.spawn([...HOLDFAST, ...args], { env: environment(env), ...pipes });
    const [out, err, exit] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { exit, out, err };
  };
  const begin = (args: string[]) => {
    const child = Bun.spawn([...HOLDFAST, ...args, ...here], { env: environment(), ...pipes });
    const [out, err] = [gather(child.stdout), gather(child.stderr)];
    const exited = Promise.all([child.exited, out.ended, err.ended]).then(([exit]) => exit);
    return { out: out.text, err: err.text, kill: (signal: NodeJS.Signals) => child.kill(signal), exited };
  };
  let agent: ReturnType<typeof begin> | undefined;
  const start = async () => {
    const started = (agent = begin(["agent", "run", "--health-listen", "127.0.0.1:0", "--json"]));
    let ended = false;
    void started.exited.then(() => (ended = true));
    await until("the agent to be ready", () => ended || started.out().includes('"ready":true'), 60_000);
    if (ended) throw new Error(`the agent did not start: ${started.err()}`);
  };
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    agent?.kill(signal);
    await agent?.exited;
    agent = undefined;
  };
  const onTerminal = async (args: string[], answers: string[]): Promise<Result> => {
    let out = "";
    let answered = 0;
    const left = [...answers];
    const decoder = new TextDecoder();
    const child = Bun.spawn([...HOLDFAST, ...args, ...here], {
      env: environment({ TERM: "dumb", NO_COLOR: "1" }),
      terminal: {
        cols: 200,
        rows: 50,
        data(terminal, data) {
          out += decoder.decode(data, { stream: true });
          const prompts = out.match(/(\? |\] )(?=\S|$)/g)?.length ?? 0;
          while (answered < prompts && left.length > 0) {
            answered++;
            terminal.write(`${left.shift()}\n`);
          }
        },
      },
    });
    const exit = await child.exited;
    child.terminal?.close();
    return { exit, out: Bun.stripANSI(out).replaceAll("\r\n", "\n"), err: "" };
  };
  await start();
  return {
    base,
    id,
    bare,
    begin,
    start,
    stop,
    onTerminal,
    cli: (args, env) => bare([...args, ...here], env),
    async close() {
      await stop();
      rmSync(base, { recursive: true, force: true });
    },
  };
}

function gather(stream: ReadableStream<Uint8Array>): { text: () => string; ended: Promise<void> } {
  let text = "";
  const decoder = new TextDecoder();
  const ended = (async () => {
    for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
    }
  })();
  return { text: () => text, ended };
}
