import { existsSync, readFileSync } from "node:fs";
import type { Attack, AttackHost, Language } from "./attack.ts";
import { languagesOf } from "./attack.ts";
import { ATTACKS } from "./attacks/all.ts";
import { type Kind, kindOf, type Outcome, runAttacks, type RunPorts } from "./run-attack.ts";
import type { Self, Starter } from "./starter.ts";
import type { World } from "./world.ts";

export interface SuiteRow {
  attack: string;
  language: Language;
  level: Attack["level"];
  /** Unconfined: it must succeed, or the test cannot fail. */
  off: "succeeded" | "impossible" | "failed" | "not run";
  /** Confined. */
  on: "stopped" | "escaped" | "not run";
  /** What showed the escape from outside; null when only the attack itself says so. */
  seen: string | null;
  /** Why it could not be tried, what shows the escape, or what stopped it. */
  detail: string;
}

export interface SuiteOptions {
  self: Self;
  world: World;
  plugin: string;
  off: Starter;
  /** Absent: only the proof that attacks succeed unconfined. */
  on?: Starter;
  only?: (attack: Attack) => boolean;
}

export async function runSuite(options: SuiteOptions): Promise<SuiteRow[]> {
  const host = attackHost(options.self);
  const chosen = ATTACKS.filter((attack) => options.only?.(attack) ?? true).flatMap((attack) =>
    languagesOf(attack).map((language) => ({ attack, language, untried: untried(attack, language, host) })),
  );
  const tried = chosen.filter((item) => item.untried === null);
  const off = await runAll(options, options.off, tried);
  const on = options.on ? await runAll(options, options.on, tried) : new Map<string, Outcome>();
  return chosen.map(({ attack, language, untried }) =>
    untried === null
      ? rowOf(
          attack,
          language,
          off.get(`${attack.id}-${language}`)!,
          on.get(`${attack.id}-${language}`),
          host,
        )
      : {
          attack: attack.id,
          language,
          level: attack.level,
          off: "not run",
          on: "not run",
          seen: null,
          detail: untried,
        },
  );
}

function rowOf(
  attack: Attack,
  language: Language,
  off: Outcome,
  on: Outcome | undefined,
  host: AttackHost,
): SuiteRow {
  const excused =
    attack.optional || (attack.off !== "succeeds" && !(attack.off === "succeeds as root" && host.root));
  return {
    attack: attack.id,
    language,
    level: attack.level,
    off: off.evidence !== null ? "succeeded" : excused ? "impossible" : "failed",
    seen: on?.evidence ?? null,
    on: on === undefined ? "not run" : on.escaped ? "escaped" : "stopped",
    detail: on?.escaped
      ? `${on.evidence ?? ""} ${on.said}`
      : off.evidence === null
        ? off.said
        : (on?.said ?? off.said),
  };
}

/** Workers at a time: most of them only wait for their limit. */
const LANES = 3;

interface Task {
  attack: Attack;
  language: Language;
}

async function runAll(options: SuiteOptions, start: Starter, tasks: Task[]): Promise<Map<string, Outcome>> {
  const { world, plugin } = options;
  const ports: RunPorts = { world, plugin, start, share: start === options.off ? "wanted" : "used" };
  const outcomes = new Map<string, Outcome>();
  const run = async (kind: Kind, group: Task[]) => {
    const results = await runAttacks(ports, kind, (code) =>
      group.map(({ attack, language }) => world.aim(attack, language, code)),
    );
    for (const [id, outcome] of results) outcomes.set(id, outcome);
  };
  for (const kind of ["host", "sh", "py"] as const) {
    const shared = tasks.filter((task) => !task.attack.own && kindOf(task.language) === kind);
    if (shared.length > 0) await run(kind, shared);
  }
  const own = tasks.filter((task) => task.attack.own);
  const lane = async () => {
    for (let task = own.shift(); task; task = own.shift()) await run(kindOf(task.language), [task]);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return outcomes;
}

function untried(attack: Attack, language: Language, host: AttackHost): string | null {
  if (language === "py" && !host.has("/usr/bin/python3")) return "no python3 here";
  return attack.needs?.(host) ?? null;
}

export function attackHost(self: Self): AttackHost {
  return {
    root: process.getuid!() === 0,
    arch: process.arch,
    compiled: self.compiled,
    has: existsSync,
    read(path) {
      try {
        return readFileSync(path, "utf8").trim();
      } catch {
        return "";
      }
    },
  };
}
