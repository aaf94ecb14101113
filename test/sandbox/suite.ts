import { existsSync, readFileSync } from "node:fs";
import type { Attack, AttackHost, Language } from "./attack.ts";
import { languagesOf } from "./attack.ts";
import { ATTACKS } from "./attacks/all.ts";
import { kindOf, type Outcome, runAttacks, type RunPorts } from "./run-attack.ts";
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
  only?: (attack: Attack) => boolean;
}

interface Task {
  attack: Attack;
  language: Language;
}

/** Workers at a time: most of them only wait for their limit. */
const LANES = 3;

/** The attacks of this host, tried without a sandbox once, and then with as many as are to be compared. */
export class Suite {
  readonly #options: SuiteOptions;
  readonly #chosen: (Task & { untried: string | null })[];
  readonly #host: AttackHost;
  #off = new Map<string, Outcome>();

  private constructor(options: SuiteOptions) {
    const host = attackHost(options.self);
    this.#options = options;
    this.#host = host;
    this.#chosen = ATTACKS.filter((attack) => options.only?.(attack) ?? true).flatMap((attack) =>
      languagesOf(attack).map((language) => ({
        attack,
        language,
        untried: untried(attack, language, host),
      })),
    );
  }

  static async prove(options: SuiteOptions): Promise<Suite> {
    const suite = new Suite(options);
    suite.#off = await suite.#run(options.off, "wanted");
    return suite;
  }

  async confined(start: Starter): Promise<SuiteRow[]> {
    const on = await this.#run(start, "used");
    return this.#chosen.map(({ attack, language, untried }) => {
      const id = `${attack.id}-${language}`;
      if (untried === null) return rowOf(attack, language, this.#off.get(id)!, on.get(id), this.#host);
      const { level } = attack;
      return {
        attack: attack.id,
        language,
        level,
        off: "not run",
        on: "not run",
        seen: null,
        detail: untried,
      };
    });
  }

  async #run(start: Starter, share: RunPorts["share"]): Promise<Map<string, Outcome>> {
    const { world, plugin } = this.#options;
    const ports: RunPorts = { world, plugin, start, share };
    const outcomes = new Map<string, Outcome>();
    const groups = groupsOf(this.#chosen.filter((item) => item.untried === null));
    const lane = async () => {
      for (let group = groups.shift(); group; group = groups.shift()) {
        const tasks = group;
        const results = await runAttacks(ports, kindOf(tasks[0]!.language), (code) =>
          tasks.map(({ attack, language }) => world.aim(attack, language, code)),
        );
        for (const [id, outcome] of results) outcomes.set(id, outcome);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return outcomes;
  }
}

/** What one worker tries: as much as it can, in three languages, and one by one what changes or ends it. */
function groupsOf(tasks: Task[]): Task[][] {
  const shared = (["host", "sh", "py"] as const).map((kind) =>
    tasks.filter((task) => !task.attack.own && kindOf(task.language) === kind),
  );
  const own = tasks.filter((task) => task.attack.own).map((task) => [task]);
  return [...shared.filter((group) => group.length > 0), ...own];
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
