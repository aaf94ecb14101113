import * as v from "valibot";
import type { Clock } from "../../core/clock.ts";
import { isDuration, parseDuration } from "../../core/duration.ts";
import { HoldfastError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { readJournal, readNothing, readProperties } from "./answers.ts";
import {
  type ObjectRule,
  readContainer,
  readObject,
  readPackage,
  readProcessName,
  readUnit,
  shown,
} from "./objects.ts";
import { upgradeCommands } from "./package-commands.ts";
import { firstOf, type Programs } from "./programs.ts";

/** What an operation comes down to. Nothing here is ever read by a shell: an argument list goes to execve as it is. */
export type Plan =
  | { kind: "programs"; commands: [string, ...string[]][]; read(stdout: string): Json }
  | { kind: "signal"; name: string; signal: SignalName };

/** `root`; `journal`: root or a group that may read the journal; `nothing`: any user may. */
export type Need = "root" | "journal" | "nothing";

interface Verb<A extends v.GenericSchema<any, JsonObject> = any> {
  summary: string;
  object: ObjectRule;
  arguments: A;
  timeoutMs: number;
  needs: Need;
  plan(object: string | null, given: v.InferOutput<A>, host: { programs: Programs; clock: Clock }): Plan;
}

const UNIT: ObjectRule = { what: "a systemd unit", need: "required", read: readUnit };
const ANY_UNIT: ObjectRule = { ...UNIT, need: "optional" };
const PACKAGE: ObjectRule = { what: "a package", need: "optional", read: readPackage };
const PROCESS: ObjectRule = { what: "a program", need: "required", read: readProcessName };
const CONTAINER: ObjectRule = { what: "a container", need: "required", read: readContainer };
const NO_OBJECT: ObjectRule = { what: "nothing", need: "none", read: () => null };

export const SIGNALS = ["HUP", "USR1", "USR2", "TERM", "KILL"] as const;
export type SignalName = (typeof SIGNALS)[number];

const MINUTE_MS = 60_000;
const MAX_DELAY_MS = 24 * 60 * MINUTE_MS;
export const MAX_JOURNAL_LINES = 1000;
const PRIORITIES = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"] as const;
const STATUS_PROPERTIES =
  "Id,Description,LoadState,ActiveState,SubState,UnitFileState,Result,MainPID,ExecMainStatus,NRestarts,StateChangeTimestamp";

const noArguments = v.strictObject({});
const duration = v.pipe(v.string(), v.check(isDuration, "a duration, like 30s, 5m, 2h"));
const journalArguments = v.strictObject({
  lines: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_JOURNAL_LINES)), 100),
  /** How far back: `15m`. */
  since: v.optional(duration),
  /** This one and what is worse. */
  priority: v.optional(v.picklist(PRIORITIES)),
});
const rebootArguments = v.strictObject({
  delay: v.optional(
    v.pipe(
      duration,
      v.check(
        (text) => !isDuration(text) || isRebootDelay(parseDuration(text)),
        "whole minutes up to 24h, like 1m",
      ),
    ),
    "1m",
  ),
});
const upgradeArguments = v.strictObject({ refresh: v.optional(v.boolean(), true) });
const signalArguments = v.strictObject({ signal: v.picklist(SIGNALS) });
const containerArguments = v.strictObject({ engine: v.optional(v.picklist(["docker", "podman"])) });

function isRebootDelay(ms: number): boolean {
  return ms % MINUTE_MS === 0 && ms <= MAX_DELAY_MS;
}

/** Gives each row its own type of arguments. */
function verb<A extends v.GenericSchema<any, JsonObject>>(row: Verb<A>): Verb {
  return row;
}

function unitVerb(action: "restart" | "start" | "stop" | "reload", summary: string): Verb {
  return verb({
    summary,
    object: UNIT,
    arguments: noArguments,
    timeoutMs: 2 * MINUTE_MS,
    needs: "root",
    plan: (unit, _given, { programs }) => {
      const [, program] = firstOf(programs, `systemd.${action}`, ["systemctl"]);
      const argv: [string, ...string[]] = [program, action, "--no-ask-password", "--", unit!];
      return { kind: "programs", commands: [argv], read: readNothing };
    },
  });
}

/** Everything that can be done for a worker, on the agent and in the privileged service alike. */
export const VERBS: Record<string, Verb> = {
  "systemd.restart": unitVerb("restart", "Restarts a unit"),
  "systemd.start": unitVerb("start", "Starts a unit"),
  "systemd.stop": unitVerb("stop", "Stops a unit"),
  "systemd.reload": unitVerb("reload", "Lets a unit read its configuration again"),
  "systemd.status": verb({
    summary: "Tells the state of a unit",
    object: UNIT,
    arguments: noArguments,
    timeoutMs: 15_000,
    needs: "nothing",
    plan: (unit, _given, { programs }) => {
      const [, program] = firstOf(programs, "systemd.status", ["systemctl"]);
      const options = ["show", "--no-pager", `--property=${STATUS_PROPERTIES}`];
      return { kind: "programs", commands: [[program, ...options, "--", unit!]], read: readProperties };
    },
  }),
  "journal.read": verb({
    summary: "Reads the last lines of the journal, of one unit or of all",
    object: ANY_UNIT,
    arguments: journalArguments,
    timeoutMs: 30_000,
    needs: "journal",
    plan: (unit, { lines, since, priority }, { programs, clock }) => {
      const [, program] = firstOf(programs, "journal.read", ["journalctl"]);
      const from = since === undefined ? null : Math.floor((clock.wall() - parseDuration(since)) / 1000);
      return {
        kind: "programs",
        commands: [
          [
            program,
            "--no-pager",
            "--quiet",
            "--output=json",
            "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID,_SYSTEMD_UNIT",
            `--lines=${lines}`,
            ...(from === null ? [] : [`--since=@${Math.max(0, from)}`]),
            ...(priority === undefined ? [] : [`--priority=${priority}`]),
            ...(unit === null ? [] : [`--unit=${unit}`]),
          ],
        ],
        read: readJournal,
      };
    },
  }),
  reboot: verb({
    summary: "Restarts the host after a delay",
    object: NO_OBJECT,
    arguments: rebootArguments,
    timeoutMs: 15_000,
    needs: "root",
    plan: (_object, { delay }, { programs }) => {
      const [, program] = firstOf(programs, "reboot", ["shutdown"]);
      const minutes = parseDuration(delay) / MINUTE_MS;
      return { kind: "programs", commands: [[program, "-r", `+${minutes}`]], read: readNothing };
    },
  }),
  "packages.upgrade": verb({
    summary: "Upgrades one installed package, or all of them",
    object: PACKAGE,
    arguments: upgradeArguments,
    timeoutMs: 30 * MINUTE_MS,
    needs: "root",
    plan: (name, { refresh }, { programs }) => ({
      kind: "programs",
      commands: upgradeCommands(programs, name, refresh),
      read: readNothing,
    }),
  }),
  signal: verb({
    summary: "Sends a signal to the processes of a program",
    object: PROCESS,
    arguments: signalArguments,
    timeoutMs: 15_000,
    needs: "root",
    plan: (name, { signal }) => ({ kind: "signal", name: name!, signal }),
  }),
  "container.restart": verb({
    summary: "Restarts a container",
    object: CONTAINER,
    arguments: containerArguments,
    timeoutMs: 2 * MINUTE_MS,
    needs: "root",
    plan: (name, { engine }, { programs }) => {
      const engines = engine === undefined ? (["docker", "podman"] as const) : [engine];
      const [, program] = firstOf(programs, "container.restart", [...engines]);
      return { kind: "programs", commands: [[program, "restart", "--", name!]], read: readNothing };
    },
  }),
};

/** One request after every check of its form: what is planned from it can only be what the table says. */
export interface Operation {
  verb: string;
  object: string | null;
  /** `systemd.restart:nginx.service`: with the object in full, for rules, messages and the audit. */
  text: string;
  arguments: JsonObject;
}

/** `systemd.restart:nginx` and its arguments, checked. Throws `invalid` with what is wrong and what would be right. */
export function readOperation(text: string, given: JsonObject = {}): Operation {
  const colon = text.indexOf(":");
  const name = colon === -1 ? text : text.slice(0, colon);
  const row = Object.hasOwn(VERBS, name) ? VERBS[name]! : null;
  if (row === null) throw unknownVerb(name);
  const object = readObject(row.object, name, colon === -1 ? null : text.slice(colon + 1));
  const parsed = v.safeParse(row.arguments as v.GenericSchema<unknown, JsonObject>, given);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    const where = v.getDotPath(issue);
    const what = where === null ? issue.message : `${shown(where)}: ${issue.message}`;
    throw new HoldfastError("invalid", `${name} was given wrong arguments: ${what}`);
  }
  return {
    verb: name,
    object,
    text: object === null ? name : `${name}:${object}`,
    arguments: parsed.output,
  };
}

/** Throws `failed` where the host lacks the program. */
export function planOperation(operation: Operation, programs: Programs, clock: Clock): Plan {
  return VERBS[operation.verb]!.plan(operation.object, operation.arguments, { programs, clock });
}

function unknownVerb(name: string): HoldfastError {
  const meant = nearest(name, Object.keys(VERBS));
  const hint = meant === undefined ? "" : ` (did you mean ${meant}?)`;
  return new HoldfastError(
    "invalid",
    `there is no host operation ${shown(name)}${hint}; there are ${Object.keys(VERBS).join(", ")}`,
  );
}
