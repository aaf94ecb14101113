import type { Clock } from "../../../core/clock.ts";
import type { LogSink } from "../../../core/logger.ts";
import type { Grant } from "../../../model/grant.ts";
import type { Addition } from "../../../model/pipeline.ts";
import type { AgentFacts } from "../../../model/plugin.ts";
import type { EndCause, Verdict } from "../../../model/worker-end.ts";
import type { Masking } from "../secret-port.ts";
import type { WorkerTiming } from "../timing.ts";

export interface ScriptLaunch {
  /** Absolute program and its arguments. */
  command: string[];
  grant: Grant;
  /** For the name of its folder, so that a person finds it. */
  label: string;
  /** Laid over the environment that the launcher makes: PATH, HOME and TMPDIR (its own folder), LANG, TZ. */
  env: Record<string, string>;
  stdin: "ignore" | "pipe";
  kind: "script";
  /** Texts for files that only it can read; where each is stands in the environment under the name that is given. */
  secretFiles?: Record<string, string>;
  /** Folders and files of the plugin that it may read and execute. */
  code: string[];
  /** It may talk back; `callFd` is then the agent's end of the script's descriptor 4. */
  calls: boolean;
}

/** What is written to a script; both may throw or reject once it is gone. */
export interface ScriptStdin {
  write(bytes: string): unknown;
  flush(): unknown;
  end(): unknown;
}

export interface ScriptProcess {
  /** Leader of a session and group of its own. */
  pid: number;
  /** The agent's end of the descriptor 4 of the script, where it was asked for; whoever adopts it closes it. */
  callFd: number | null;
  stdin: ScriptStdin | null;
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Settles when the process and everything in its group are gone. */
  exited: Promise<{ code: number | null; signal: string | null; verdict: Verdict }>;
  /** SIGKILL to all of it; `cause` is the verdict's where a limit was passed. */
  kill(why?: { cause?: EndCause; text: string }): void;
}

export interface ScriptLauncher {
  /** Rejects when the process could not be started or confined. */
  launch(options: ScriptLaunch): Promise<ScriptProcess>;
}

/** A script's way to talk back (`holdfast call`) on its descriptor 4. */
export interface ScriptCalls {
  /**
   * Before the start; undefined for one that has nothing to ask for. What the environment must say (HOLDFAST_CALL_FD and a
   * token). `log` is the plugin's log; `add` is there for a call that may add steps; `namespace` is that of the run which
   * called it.
   */
  open(who: {
    plugin: string;
    part: string;
    grant: Grant;
    log: LogSink;
    add?: (additions: Addition[]) => Promise<void>;
    namespace?: string | undefined;
    /** Whose state it may keep, like `trigger/front`. */
    state?: string | undefined;
  }): ScriptCallSession | undefined;
}

export interface ScriptCallSession {
  env: Record<string, string>;
  /** Takes the agent's end over, and closes it at the end. */
  attach(callFd: number): void;
  close(): void;
}

export interface ScriptPorts {
  launcher: ScriptLauncher;
  agent: AgentFacts;
  clock: Clock;
  timing: WorkerTiming;
  pluginLog: (name: string) => LogSink;
  /** The agent's own environment, of which a grant may name variables. */
  hostEnv: Record<string, string | undefined>;
  calls?: ScriptCalls | undefined;
  /** Takes what was handed out out of what scripts print. */
  masking?: Masking;
}
