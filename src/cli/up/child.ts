import { backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { selfCommand } from "../self.ts";

const RESTART = { kind: "exponential", initialMs: 250, maxMs: 10_000 } as const;
const STOP_MS = 15_000;

export interface ChildOptions {
  name: "hub" | "agent";
  /**
   * What it is started with, for the first time or after it died. Then `before` is its first ready line, so that it
   * takes the ports again that the others know.
   */
  args: (before: Record<string, unknown> | undefined) => string[];
  env: Record<string, string>;
  clock: Clock;
  /** Told when the child died by itself and when it is back. */
  notice: (text: string) => void;
}

/**
 * One half of `holdfast up`: a process of its own, so that killing the agent does not take the hub with it. It is
 * started again when it dies, and it ends by itself when we die, because its stdin then closes.
 */
export class Child {
  readonly #options: ChildOptions;
  #process: Bun.Subprocess<"pipe", "pipe", "pipe"> | undefined;
  #stopping = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Resolves with the child's ready line; rejects with what it said when it could not start. */
  async start(): Promise<Record<string, unknown>> {
    const { ready, exited } = this.#spawn(undefined);
    const facts = await ready;
    this.#ended = this.#watch(exited, facts);
    return facts;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#process?.kill("SIGTERM");
    const cancel = this.#options.clock.after(STOP_MS, () => this.#process?.kill("SIGKILL"));
    await this.#ended;
    cancel();
  }

  #spawn(before: Record<string, unknown> | undefined) {
    const child = Bun.spawn([...selfCommand(), ...this.#options.args(before)], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, ...this.#options.env, HOLDFAST_PARENT_PIPE: "1" },
      // A session of its own: Ctrl-C reaches only us, and we stop the two in order.
      detached: true,
    });
    this.#process = child;
    const said = tail(child.stderr);
    const ready = firstLine(child.stdout).then(async (line) => {
      if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
      const code = await child.exited;
      const why = (await said).replace(/^holdfast: /gm, "").trim();
      throw new HoldfastError(
        "failed",
        why === "" ? `the ${this.#options.name} ended with exit code ${code} before it was ready` : why,
      );
    });
    return { ready, exited: child.exited };
  }

  async #watch(first: Promise<number>, facts: Record<string, unknown>): Promise<void> {
    let exited = first;
    for (let deaths = 1; ; deaths++) {
      await exited;
      if (this.#stopping) return;
      const { name, notice, clock } = this.#options;
      notice(
        `the ${name} died (${this.#process?.signalCode ?? `exit code ${this.#process?.exitCode}`}); it is started again`,
      );
      await clock.sleep(backoffDelay(RESTART, deaths, () => 1));
      if (this.#stopping) return;
      const again = this.#spawn(facts);
      exited = again.exited;
      await again.ready.then(
        () => notice(`the ${name} is back and goes on where it was`),
        (error: Error) => notice(`the ${name} could not start: ${error.message}`),
      );
    }
  }
}

/** The first line of a stream, or undefined when it ends without one; the rest is read and dropped. */
function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  return new Promise((resolve) => {
    void (async () => {
      const decoder = new TextDecoder();
      let text = "";
      for await (const chunk of stream) {
        if (text.includes("\n")) continue;
        text += decoder.decode(chunk, { stream: true });
        const end = text.indexOf("\n");
        if (end >= 0) resolve(text.slice(0, end));
      }
      resolve(undefined);
    })();
  });
}

/** The last 4 KB that a stream says. */
async function tail(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) text = (text + decoder.decode(chunk, { stream: true })).slice(-4096);
  return text;
}
