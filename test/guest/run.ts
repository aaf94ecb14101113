/**
 * `bun test/guest/run.ts [--only REGEX] [NAME…]`: the compiled executable on other kernels, in booted Debian guests, one
 * after the other. NAME picks guests by a part of their name, REGEX checks by theirs. Takes minutes, so it is a step of its
 * own in .ci/run and no part of `npm test`. Last it prints `N passed, N failed`.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runScript } from "../../scripts/run-command.ts";
import { buildExecutable } from "../e2e/harness.ts";
import { bundlePlugin } from "../sandbox/bundle.ts";
import { type Guest, GUESTS } from "./guests.ts";
import type { CheckResult } from "./inside/checks.ts";
import { bootGuest, ensureImage, whyNoGuests } from "./machine.ts";

/** Emulated on an idle machine, a guest needs about three minutes. This is for one that hangs, not for one that is slow. */
const GUEST_LIMIT_SECONDS = 600;
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
    options: { only: { type: "string", default: "" } },
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
  const image = await ensureImage((text) => console.log(`guests: ${text}`));
  const total: Total = { passed: 0, failed: 0 };
  const work = mkdtempSync(join(tmpdir(), "holdfast-guests-"));
  try {
    const tools = await buildTools(work);
    for (const guest of chosen) {
      const result = await runGuest({ ...guest, only: values.only }, image, tools, join(work, guest.name));
      total.passed += result.passed;
      total.failed += result.failed;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
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
  console.log(`\n${guest.name}:`);
  const started = performance.now();
  const share = join(work, "share");
  const out = join(work, "out");
  mkdirSync(share, { recursive: true });
  for (const [name, path] of Object.entries(tools)) cpSync(path, join(share, name), { recursive: true });
  writeFileSync(join(share, "guest.json"), JSON.stringify(guest));
  writeFileSync(join(share, "job"), JOB);
  const code = await bootGuest({
    image,
    guest,
    share,
    out,
    limitSeconds: GUEST_LIMIT_SECONDS,
    onLine: (line) => console.log(line),
  });
  const results = readResults(join(out, "results.jsonl"));
  const passed = results.filter((result) => result.ok).length;
  const failed = results.length - passed;
  rmSync(work, { recursive: true, force: true });
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(`${guest.name}: ${passed} passed, ${failed} failed, in ${seconds} s`);
  if (code === 0 || (code === 1 && failed > 0)) return { passed, failed };
  console.log(`(fail) ${guest.name}: its checks did not come to their end (${code})`);
  return { passed, failed: failed + 1 };
}

function readResults(path: string): CheckResult[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as CheckResult);
}
