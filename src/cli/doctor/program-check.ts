import { accessSync, closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import type { AgentHome } from "../../agent/config/home.ts";
import type { StepConfig } from "../../model/config-pipeline.ts";
import type { Config } from "../../model/config.ts";
import type { DoctorCheck } from "./report.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Every program that a step of the configuration names is there and can be run. */
export function programCheck(
  config: Config,
  home: AgentHome,
  path = process.env.PATH ?? DEFAULT_PATH,
): DoctorCheck {
  const name = "programs";
  const found: string[] = [];
  const problems: string[] = [];
  let unknown = 0;
  for (const { where, step } of stepsOf(config)) {
    const program = programOf(step);
    if (program === null) continue;
    if (program.includes("${{")) {
      unknown += 1;
      continue;
    }
    const problem = programProblem(program, home.root, path);
    if (problem === null) found.push(program);
    else problems.push(`${where}: ${problem}`);
  }
  const later = unknown === 0 ? "" : `; ${unknown} are known only when the step runs`;
  if (problems.length > 0) {
    const fix = "install them, correct the steps, or chmod +x the script";
    return { name, state: "failed", detail: problems.join("; ") + later, fix };
  }
  const names = [...new Set(found)].join(", ");
  return { name, state: "ok", detail: (names === "" ? "no step needs one" : `${names}: there`) + later };
}

type Call = Pick<StepConfig, "with"> & { action?: string | undefined };

/** Steps of all parts, and what takes them back. */
function stepsOf(config: Config): { where: string; step: Call }[] {
  return Object.entries(config.pipelines).flatMap(([pipeline, parts]) =>
    [...parts.steps, ...parts.finally, ...parts.on_failure].flatMap((step) => {
      const where = `pipeline ${pipeline}, step ${step.id}`;
      return step.undo
        ? [
            { where, step },
            { where: `${where}, undo`, step: step.undo },
          ]
        : [{ where, step }];
    }),
  );
}

function programOf(step: Call): string | null {
  if (step.action !== "exec") return null;
  const [first] = [step.with.command].flat();
  return typeof first === "string" ? first : null;
}

/** As the action `exec` looks for it: from the agent's home, a plain name then in PATH. */
function programProblem(name: string, home: string, path: string): string | null {
  const atHome = isAbsolute(name) ? name : resolve(home, name);
  const stat = statSync(atHome, { throwIfNoEntry: false });
  if (stat === undefined || stat.isDirectory()) {
    if (!name.includes("/") && Bun.which(name, { PATH: path }) !== null) return null;
    return `${name} is not there (looked for ${atHome}${name.includes("/") ? "" : " and in PATH"})`;
  }
  if ((stat.mode & 0o111) === 0) return `${atHome} is not executable`;
  const interpreter = interpreterOf(atHome);
  if (interpreter === null || isExecutable(interpreter)) return null;
  return `${atHome} needs ${interpreter}, which is not there`;
}

function interpreterOf(path: string): string | null {
  try {
    const file = openSync(path, "r");
    try {
      const start = Buffer.alloc(256);
      const text = start.toString("latin1", 0, readSync(file, start));
      return /^#!\s*(\S+)/.exec(text)?.[1] ?? null;
    } finally {
      closeSync(file);
    }
  } catch {
    // Not readable for this user: whether it runs is the kernel's to say.
    return null;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
