/**
 * `bun test/guest/run.ts [--only REGEX] [--at-once N] [NAME…]`: the compiled executable on other kernels, in booted Debian
 * guests, two at a time: one waits while the other computes. NAME picks guests by a part of their name, REGEX checks by
 * theirs. Takes minutes, so it is a step of its own in .ci/run and no part of `npm test`. Last it prints
 * `N passed, N failed`.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runScript } from "../../scripts/run-command.ts";
import { buildExecutable } from "../e2e/harness.ts";
import { bundlePlugin } from "../sandbox/bundle.ts";
import { type Guest, GUESTS } from "./guests.ts";
import { CLOSING, RESULT } from "./inside/checks.ts";
import { bootGuest, type BootLimits, ensureImage, whyNoGuests } from "./machine.ts";

/**
 * At load 5 on two processors, a guest needs four to seven minutes. These are for one that hangs, not for one that is slow;
 * no check waits for longer than the first before it fails.
 */
const LIMITS: BootLimits = { silenceMs: 420_000, totalMs: 1_200_000 };
/** What the job does: the executable is also the Bun that runs the checks. */
const JOB = "BUN_BE_BUN=1 exec ./holdfast run ./checks.js\n";

interface Total {
  passed: number;
  failed: number;
}

await runScript("guests", () => main(process.argv.slice(2)));

async function main(args: string[]): Promise<number> {
  const { values, positionals: names } = parseArgs({
    args,
    allowPositionals: true,
    options: { only: { type: "string", default: "" }, "at-once": { type: "string", default: "2" } },
  });
  const why = whyNoGuests();
  if (why !== null) {
    const message = `NO GUEST WAS BOOTED: other kernels are not tested here; ${why}`;
    if (process.env.CI) throw new Error(message);
    console.error(`guests: ${message}`);
    console.log("0 passed, 0 failed");
    return 0;
  }
  const chosen = GUESTS.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)));
  if (chosen.length === 0)
    throw new Error(`no guest is called so; there are ${GUESTS.map(({ name }) => name).join(", ")}`);
  const work = mkdtempSync(join(tmpdir(), "holdfast-guests-"));
  process.once("exit", () => rmSync(work, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  const image = await ensureImage((text) => console.log(`guests: ${text}`));
  const tools = await buildTools(work);
  const totals = await inLanes(Number(values["at-once"]), chosen, (guest) =>
    runGuest({ ...guest, only: values.only }, image, tools, join(work, guest.name)),
  );
  const sum = (key: keyof Total) => totals.reduce((all, total) => all + total[key], 0);
  console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
  return sum("failed") === 0 ? 0 : 1;
}

async function inLanes<T, R>(lanes: number, items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const left = [...items];
  const results: R[] = [];
  const lane = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) results.push(await work(item));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

/** Files and folders that every guest gets, by their name there. */
async function buildTools(work: string): Promise<Record<string, string>> {
  const holdfast = await buildExecutable();
  const folder = join(work, "tools");
  const file = async (name: string, content: string | Blob) => {
    await Bun.write(join(folder, name), content);
    return join(folder, name);
  };
  return {
    holdfast,
    "checks.js": await file("checks.js", await bundle(join(import.meta.dir, "inside/main.ts"))),
    "suite.js": await file("suite.js", await bundle(join(import.meta.dir, "../sandbox/guest-main.ts"))),
    "attack-plugin.js": await file("attack-plugin.js", await bundlePlugin()),
    plugins: join(import.meta.dir, "plugins"),
  };
}

async function bundle(entry: string): Promise<Blob> {
  // What made the executable a Bun for this program must not make one of each holdfast that it starts.
  const banner = "delete process.env.BUN_BE_BUN;";
  const result = await Bun.build({ entrypoints: [entry], target: "bun", banner, throw: false });
  if (!result.success) throw new Error(`${entry} does not build:\n${result.logs.map(String).join("\n")}`);
  return result.outputs[0]!;
}

async function runGuest(
  guest: Guest & { only: string },
  image: string,
  tools: Record<string, string>,
  work: string,
): Promise<Total> {
  console.log(`${guest.name}: boots`);
  const started = performance.now();
  const share = join(work, "share");
  mkdirSync(share, { recursive: true });
  for (const [name, path] of Object.entries(tools)) cpSync(path, join(share, name), { recursive: true });
  writeFileSync(join(share, "guest.json"), JSON.stringify(guest));
  writeFileSync(join(share, "job"), JOB);
  const total: Total = { passed: 0, failed: 0 };
  let made: number | undefined;
  const onLine = (line: string) => {
    const closing = CLOSING.exec(line)?.[1];
    if (closing !== undefined) made = Number(closing);
    else console.log(line);
    const result = RESULT.exec(line)?.[1];
    if (result !== undefined) total[result === "pass" ? "passed" : "failed"] += 1;
  };
  const code = await bootGuest({ image, guest, share, limits: LIMITS, onLine });
  rmSync(work, { recursive: true, force: true });
  const whole = made === total.passed + total.failed && code === (total.failed === 0 ? 0 : 1);
  if (!whole) {
    console.log(`(fail) ${guest.name}: its checks did not come to their end (${code})`);
    total.failed += 1;
  }
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(`${guest.name}: ${total.passed} passed, ${total.failed} failed, in ${seconds} s`);
  return total;
}
