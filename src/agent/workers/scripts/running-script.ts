import { messageOf } from "../../../core/errors.ts";
import type { Grant } from "../../../model/grant.ts";
import type { JsonObject } from "../../../model/json.ts";
import type { Addition } from "../../../model/pipeline.ts";
import type { PluginKind, ScriptEntry } from "../../../model/plugin.ts";
import type { EndCause, Verdict } from "../../../model/worker-end.ts";
import { type CallMark, type PluginOutput, pluginOutput } from "../plugin-output.ts";
import type { HeldSecrets } from "../secret-port.ts";
import { ChunkSource } from "./chunk-source.ts";
import { LineSplitter } from "./line-splitter.ts";
import { OutputBudget } from "./output-budget.ts";
import type { ScriptPorts, ScriptProcess } from "./ports.ts";
import { scriptCommand } from "./script-command.ts";
import { scriptEnvironment, secretFileTexts } from "./script-environment.ts";

/** After the process is gone, for what it had written to still arrive. */
const TAIL_MS = 500;
/** Longest line that goes into the plugin's log. */
const MAX_LOG_LINE = 8 * 1024;
/** Last lines of stderr that explain a failure. */
const TAIL_LINES = 5;
const TAIL_CHARACTERS = 1000;
const MINUTE_MS = 60_000;
/** Lines of stdout of a call that gave no result. */
const MAX_TOLD_LINES = 200;

export interface ScriptStart {
  /** Name of the plugin. */
  plugin: string;
  kind: PluginKind;
  /** The trigger, action or output that it works for. */
  part: string;
  script: ScriptEntry;
  grant: Grant;
  settings: JsonObject;
  /** Which of the settings hold secrets. */
  held?: HeldSecrets | undefined;
  /** More variables, without the prefix HOLDFAST_. */
  call?: Record<string, string | number>;
  /** How the call stands in the plugin's log. */
  mark?: CallMark;
  /** For a call that may add steps (`holdfast call add`). */
  add?: (additions: Addition[]) => Promise<void>;
  /** Of the run that called it; its own when absent. */
  namespace?: string | undefined;
  /** `call`: the output of one call counts; `minute`: what it logs in a minute. */
  budget: "call" | "minute";
  /** Reads stdout to its end. A failure ends the script, with its message as the reason. */
  consume(stdout: ChunkSource, running: RunningScript): Promise<void>;
}

export interface ScriptEnd {
  code: number | null;
  signal: string | null;
  verdict: Verdict;
  /** Why it ended, in one text; the agent's own reason where it had one. */
  reason: string;
  /** The agent ended it, for this cause. */
  killed: EndCause | undefined;
  /** The last lines of stderr; may be empty. */
  stderr: string;
}

/** One process of a script, from its start until it is gone and everything it had said was read. */
export class RunningScript {
  /** Never rejects. */
  readonly ended: Promise<ScriptEnd>;
  readonly log: PluginOutput;
  readonly #process: ScriptProcess;
  readonly #ports: ScriptPorts;
  readonly #budget: OutputBudget;
  readonly #limit: number;
  readonly #mark: CallMark | undefined;
  #tail: string[] = [];
  #killed: { cause: EndCause | undefined; reason: string } | undefined;
  #over = false;
  #unwritten = 0;

  get pid(): number {
    return this.#process.pid;
  }

  /** Rejects when it cannot be started. */
  static async start(options: ScriptStart, ports: ScriptPorts): Promise<RunningScript> {
    const { plugin, kind, part, script, grant, settings, held = {}, call, add, namespace } = options;
    const who = {
      plugin,
      part,
      grant,
      log: ports.pluginLog(plugin),
      namespace,
      ...(script.state && { state: `${kind}/${part}` }),
    };
    const session = ports.calls?.open(add ? { ...who, add } : who);
    const env = scriptEnvironment({
      script,
      grant,
      agent: ports.agent,
      part,
      settings,
      hostEnv: ports.hostEnv,
      held,
      isSecret: (text) => (ports.masking?.mask(text) ?? text) !== text,
      ...(call === undefined ? {} : { call }),
    });
    let process: ScriptProcess;
    try {
      process = await ports.launcher.launch({
        command: await scriptCommand(script.entry),
        grant,
        label: plugin,
        env: { ...env, ...session?.env },
        stdin: "pipe",
        kind: "script",
        code: [script.folder],
        secretFiles: secretFileTexts(settings, held),
        calls: session !== undefined,
      });
    } catch (error) {
      session?.close();
      throw error;
    }
    if (session && process.callFd !== null) session.attach(process.callFd);
    const running = new RunningScript(process, options, ports);
    void running.ended.then(() => session?.close());
    return running;
  }

  private constructor(process: ScriptProcess, options: ScriptStart, ports: ScriptPorts) {
    const { plugin, part, grant, budget } = options;
    this.#process = process;
    this.#ports = ports;
    this.#limit = grant.resources.output;
    this.#mark = options.mark;
    this.#budget = new OutputBudget(this.#limit, ports.clock, budget === "minute" ? MINUTE_MS : undefined);
    this.log = pluginOutput({ sink: ports.pluginLog(plugin), part, clock: ports.clock });
    const stdout = new ChunkSource(process.stdout);
    const stderr = new ChunkSource(process.stderr);
    const read = Promise.all([this.#consume(stdout, options), this.#readErrors(stderr)]);
    this.ended = this.#watch([stdout, stderr], read);
  }

  /** True from the moment that its end is certain. */
  get dying(): boolean {
    return this.#over || this.#killed !== undefined;
  }

  /** Bytes written to its stdin that it has not read. */
  get unwritten(): number {
    return this.#unwritten;
  }

  /** To its stdin. Never fails: a script that is gone or closed its stdin is told of by its end or its silence. */
  write(text: string): void {
    const { stdin } = this.#process;
    if (stdin === null || this.#over) return;
    const bytes = Buffer.byteLength(text);
    this.#unwritten += bytes;
    void settle(async () => {
      await stdin.write(text);
      await stdin.flush();
    }).finally(() => (this.#unwritten -= bytes));
  }

  closeStdin(): void {
    void settle(() => this.#process.stdin?.end());
  }

  /** Counts output; one byte too many ends it. */
  spend(bytes: number): void {
    if (!this.#budget.spend(bytes))
      this.kill("output", `output: more than ${this.#limit} bytes were printed`);
  }

  /** A line of stdout that is none of the protocol. */
  raw(text: string, cutFrom = 0): void {
    // With its line break: a flood of empty lines costs us time as well.
    this.spend((cutFrom || Buffer.byteLength(text)) + 1);
    this.#line("info", text, cutFrom, "stdout");
  }

  /** What it had printed for its result, where there is none: into the log, with its first lines. */
  tell(stdout: string): void {
    const lines = stdout.split("\n");
    for (const line of lines.slice(0, MAX_TOLD_LINES)) this.#line("info", line, 0, "stdout");
    const left = lines.length - MAX_TOLD_LINES;
    if (left > 0) this.#line("info", `… (${left} lines more, cut)`, 0, "stdout");
  }

  /** Asks the whole group to end. */
  terminate(): undefined {
    if (this.#over) return;
    try {
      process.kill(-this.#process.pid, "SIGTERM");
    } catch {
      // ESRCH: it is gone. EPERM: it has changed its user; the kill that follows is the launcher's.
    }
  }

  /** Takes it away with everything that it started. The first reason is the one that is told. */
  kill(cause: EndCause | undefined, reason: string): void {
    if (this.#over) return;
    this.#killed ??= { cause, reason };
    this.#process.kill({ ...(cause === undefined ? {} : { cause }), text: reason });
  }

  /** Closes its stdin, asks it to end after `askMs`, and takes it away when it is still there after `graceMs`. */
  async stop(graceMs: number, askMs = 0): Promise<void> {
    const { clock } = this.#ports;
    this.closeStdin();
    const cancelAsk = askMs === 0 ? this.terminate() : clock.after(askMs, () => this.terminate());
    const cancelKill = clock.after(graceMs, () => this.kill(undefined, `did not stop within ${graceMs} ms`));
    await this.ended;
    cancelAsk?.();
    cancelKill();
  }

  async #watch(sources: ChunkSource[], read: Promise<unknown>): Promise<ScriptEnd> {
    const { code, signal, verdict } = await this.#process.exited;
    this.#over = true;
    this.closeStdin();
    for (const source of sources) void source.cancelWhenQuiet(TAIL_MS, this.#ports.clock);
    await read;
    const stderr = this.#tail.join("\n").slice(-TAIL_CHARACTERS);
    const why = this.#killed?.reason ?? verdict.text;
    const reason = stderr === "" || this.#killed ? why : `${why}: ${stderr}`;
    return { code, signal, verdict, reason, killed: this.#killed?.cause, stderr };
  }

  async #consume(stdout: ChunkSource, options: ScriptStart): Promise<void> {
    try {
      await options.consume(stdout, this);
    } catch (error) {
      this.#killed ??= { cause: undefined, reason: messageOf(error) };
      this.#process.kill();
      stdout.cancel();
    }
  }

  async #readErrors(stderr: ChunkSource): Promise<void> {
    const lines = new LineSplitter(MAX_LOG_LINE);
    for (let chunk = await stderr.read(); chunk; chunk = await stderr.read()) {
      this.spend(chunk.length);
      for (const { text, cutFrom } of lines.push(chunk)) this.#error(text, cutFrom);
    }
    for (const { text, cutFrom } of lines.end()) this.#error(text, cutFrom);
  }

  #error(text: string, cutFrom: number): void {
    if (text.trim() === "") return;
    this.#tail.push((this.#ports.masking?.mask(text) ?? text).slice(0, TAIL_CHARACTERS));
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
    this.#line("warn", text, cutFrom, "stderr");
  }

  #line(level: "info" | "warn", text: string, cutFrom: number, stream: string): void {
    if (text.trim() === "") return;
    const cut = cutFrom > 0 || text.length > MAX_LOG_LINE;
    const shown = cut ? `${text.slice(0, MAX_LOG_LINE)}… (${cutFrom || text.length} bytes, cut)` : text;
    this.log.line(level, shown, { stream }, this.#mark);
  }
}

async function settle(work: () => unknown): Promise<void> {
  try {
    await work();
  } catch {
    // EPIPE: it does not read any more.
  }
}
