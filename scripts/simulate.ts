/**
 * Runs simulations: `npm run simulate -- --seeds N --from M [--jobs J] [--story]`. Prints the story of each seed that fails,
 * then how often each fault struck at each write; the last line is `N passed, N failed`.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type FaultKind, FaultTable, writeLabels } from "../src/testing/simulation/faults-drawn.ts";
import { report, simulate } from "../src/testing/simulation/simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    /** Processes that share the seeds. */
    jobs: { type: "string", default: String(Math.min(8, availableParallelism())) },
    /** Prints each story and its hash, also of seeds that pass. */
    story: { type: "boolean", default: false },
    /** Ends at the first seed that fails. */
    stop: { type: "boolean", default: false },
    /** `LABEL, KIND`: the one fault that is aimed at, in place of those that a seed draws. */
    aim: { type: "string" },
    /** Of a process that runs a share: ends with its counts. */
    share: { type: "boolean", default: false },
  },
});
const [seeds, from, jobs] = [Number(values.seeds), Number(values.from), Number(values.jobs)];
if (![seeds, from, jobs].every((value) => Number.isSafeInteger(value) && value >= 0) || seeds < 1) {
  console.error("usage: npm run simulate -- [--seeds N] [--from M] [--jobs J] [--story] [--stop]");
  process.exit(2);
}
/** Seeds after which each write must have had each fault. */
const ENOUGH = 200;
/** Seeds that may aim at a fault which none of the others had. */
const TRIES = 40;

interface Counts {
  passed: number;
  failed: number;
  table: Record<string, number>;
}

const [label, kind] = values.aim?.split(", ") ?? [];
const wanted = label === undefined ? undefined : [{ label, kind: kind as FaultKind }];
const table = new FaultTable(await writeLabels());
if (values.share) {
  console.log(JSON.stringify({ ...(await runHere()), table: table.toJSON() }));
  process.exit(0);
}
const { passed, failed } = jobs > 1 && seeds > 1 ? await runShared() : await runHere();
console.log(table.toString());
const more = seeds >= ENOUGH && !values.stop ? await aimAtMissing() : { passed: 0, failed: 0 };
const failures = failed + more.failed;
console.log(`${passed + more.passed} passed, ${failures} failed`);
process.exit(failures > 0 ? 1 : 0);

/** Seeds of their own for what never struck, which aim at that alone. What they do not reach is a failure. */
async function aimAtMissing(): Promise<{ passed: number; failed: number }> {
  const counts = { passed: 0, failed: 0 };
  for (const aim of table.missing()) {
    for (let at = 0; at < TRIES && table.count(aim.label, aim.kind) === 0; at++) {
      const result = await simulate(from + seeds + at, table, [aim]);
      if (result.violation === null) counts.passed++;
      else {
        counts.failed++;
        console.log(report(result, aim));
      }
    }
    if (table.count(aim.label, aim.kind) > 0) continue;
    counts.failed++;
    console.log(`never struck: ${aim.label}, ${aim.kind}`);
  }
  return counts;
}

async function runHere(): Promise<{ passed: number; failed: number }> {
  let failed = 0;
  let run = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const result = await simulate(seed, table, wanted);
    run++;
    if (values.story) console.log(`${result.story.join("\n")}\n${seed} ${result.hash}`);
    if (result.violation === null) continue;
    failed++;
    console.log(report(result));
    if (values.stop) break;
  }
  return { passed: run - failed, failed };
}

/** Each process takes a stretch of the seeds. What they print comes when they end, in the order of the seeds. */
async function runShared(): Promise<{ passed: number; failed: number }> {
  const each = Math.ceil(seeds / jobs);
  const stretches = Array.from({ length: jobs }, (_, at) => ({
    first: from + at * each,
    count: Math.min(each, seeds - at * each),
  })).filter(({ count }) => count > 0);
  const shares = await Promise.all(stretches.map(({ first, count }) => runShare(first, count)));
  let passed = 0;
  let failed = 0;
  for (const share of shares) {
    passed += share.passed;
    failed += share.failed;
    table.merge(share.table);
  }
  return { passed, failed };
}

async function runShare(first: number, count: number): Promise<Counts> {
  const flags = ["story", "stop"].filter((name) => values[name as "story"]).map((name) => `--${name}`);
  if (values.aim !== undefined) flags.push("--aim", values.aim);
  const child = Bun.spawn(
    [process.execPath, import.meta.path, "--share", "--from", `${first}`, "--seeds", `${count}`, ...flags],
    { stdout: "pipe", stderr: "inherit" },
  );
  const lines = (await child.stdout.text()).trimEnd().split("\n");
  const counts = lines.pop() ?? "";
  for (const line of lines) console.log(line);
  if ((await child.exited) !== 0) {
    console.log(`seeds ${first} to ${first + count - 1} broke off: ${counts}`);
    return { passed: 0, failed: count, table: {} };
  }
  return JSON.parse(counts) as Counts;
}
