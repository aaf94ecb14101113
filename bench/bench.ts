/**
 * `npm run bench [-- --only NAME[,NAME…]] [--json FILE] [--strict]`: runs the benchmarks one after the other and prints
 * each figure beside its baseline and its goal. With --strict a missed goal fails the run.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildExecutable, ROOT } from "../scripts/executable.ts";
import { runScript } from "../scripts/run-command.ts";
import { type Bench, type Figure, meetsGoal, withFolder } from "./frame.ts";
import { printFigures } from "./report.ts";

/** One line a benchmark. */
const BENCHES: Record<string, () => Promise<{ bench: Bench }>> = {
  start: () => import("./start.ts"),
  "fsync-delay": () => import("./fsync-delay.ts"),
  store: () => import("./store.ts"),
  "store-runs": () => import("./store-runs.ts"),
  rules: () => import("./rules.ts"),
  "rules-test": () => import("./rules-test.ts"),
  runs: () => import("./runs.ts"),
  "event-to-step": () => import("./event-to-step.ts"),
  restart: () => import("./restart.ts"),
  memory: () => import("./memory.ts"),
  schedules: () => import("./schedules.ts"),
  emit: () => import("./emit.ts"),
  "emit-latency": () => import("./emit-latency.ts"),
  "trigger-to-script": () => import("./trigger-to-script.ts"),
  "long-time": () => import("./long-time.ts"),
  sandbox: () => import("./sandbox.ts"),
  "sync-link": () => import("./sync-link.ts"),
};

/** Those that take longer than the others together are run when they are asked for. */
const BY_NAME_ONLY = new Set(["long-time"]);

const USAGE = `npm run bench [-- --only NAME[,NAME…]] [--json FILE] [--strict]; names: ${Object.keys(BENCHES).join(", ")}`;

await runScript("bench", () => main(process.argv.slice(2)));

async function main(argv: string[]): Promise<number> {
  const options = readArguments(argv);
  const executable = join(ROOT, "dist/holdfast");
  console.error("building dist/holdfast …");
  const built = await buildExecutable({ outfile: executable });
  const results: { bench: string; figures: Figure[] }[] = [];
  const broken: string[] = [];
  for (const name of options.names) {
    try {
      results.push({ bench: name, figures: await runBench(name, executable) });
    } catch (error) {
      console.error(`${name} failed: ${error instanceof Error ? error.message : error}`);
      broken.push(name);
    }
  }
  printFigures(results);
  if (options.json) await writeJson(options.json, built.commit, results, broken);
  const missed = results.flatMap(({ figures }) => figures.filter((figure) => meetsGoal(figure) === false));
  if (missed.length > 0)
    console.log(`${missed.length} goals missed: ${missed.map((figure) => figure.name).join("; ")}`);
  if (broken.length > 0) console.log(`did not run to their end: ${broken.join(", ")}`);
  return broken.length > 0 || (options.strict && missed.length > 0) ? 1 : 0;
}

async function runBench(name: string, executable: string): Promise<Figure[]> {
  const { bench } = await BENCHES[name]!();
  console.error(`\n${name}: ${bench.about}`);
  return await withFolder((folder) =>
    bench.run({ executable, folder, progress: (text) => console.error(`  ${text}`) }),
  );
}

function readArguments(argv: string[]) {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: "string" },
      json: { type: "string" },
      strict: { type: "boolean", default: false },
    },
  });
  const names = values.only?.split(",") ?? Object.keys(BENCHES).filter((name) => !BY_NAME_ONLY.has(name));
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) throw new Error(`there is no benchmark ${unknown.join(", ")}. ${USAGE}`);
  return { ...values, names };
}

async function writeJson(
  path: string,
  commit: string,
  results: { bench: string; figures: Figure[] }[],
  broken: string[],
): Promise<void> {
  const figures = results.flatMap(({ bench, figures }) =>
    figures.map((figure) => ({ bench, ...figure, met: meetsGoal(figure) })),
  );
  const machine = {
    platform: `${process.platform}-${process.arch}`,
    bun: Bun.version,
    cpus: navigator.hardwareConcurrency,
  };
  await Bun.write(path, `${JSON.stringify({ commit, machine, figures, broken }, null, 2)}\n`);
}
