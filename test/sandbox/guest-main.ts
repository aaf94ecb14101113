/**
 * The suite as a program, for another user, or for a booted guest without this checkout (`buildSuite` makes two files, and
 * the executable runs them: `BUN_BE_BUN=1 holdfast run suite.js suite --json --holdfast /path/of/holdfast`).
 *
 *   suite      the attacks, held against what `doctor` says of this host
 *   granted    attacks by a worker that may connect to one other port, and whether it can
 *   everyday   the everyday commands of scripts
 *
 *   --holdfast PATH   the executable; without it the product in this checkout
 *   --without LIST    leaves parts of the kernel out: landlock,seccomp,mountNamespace,netNamespace,cgroup,abi=2
 *   --only REGEX      attacks whose id matches
 *   --json            one JSON object
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { KernelFacts } from "../../src/agent/workers/sandbox/kernel-facts.ts";
import { probeKernel } from "../../src/agent/workers/sandbox/probe.ts";
import { protectionsOf } from "../../src/agent/workers/sandbox/protections.ts";
import type { Protections } from "../../src/model/protection.ts";
import { disagreements, stoppedAllTheSame, table } from "./agreement.ts";
import { bundlePlugin } from "./bundle.ts";
import { confinement } from "./confined.ts";
import { degrade, type Lack, LACKS } from "./degrade.ts";
import { output } from "./run-script.ts";
import { type EverydayResult, runEveryday } from "./run-everyday.ts";
import { type Self, selfOf, unconfined } from "./starter.ts";
import { runSuite, type SuiteRow } from "./suite.ts";
import { World } from "./world.ts";

export interface SuiteReport {
  facts: KernelFacts;
  protections: Protections;
  rows: SuiteRow[];
  /** Why the suite has failed; empty when it has not. */
  problems: string[];
  /** Listed as unprotected, and stopped. */
  tooCareful: string[];
}

export interface GrantedReport {
  facts: KernelFacts;
  rows: SuiteRow[];
  /** What the script that uses its grant has got. */
  got: string;
}

export interface EverydayReport {
  facts: KernelFacts;
  off: EverydayResult[];
  on: EverydayResult[];
}

interface Options {
  holdfast?: string;
  without: string[];
  only?: string;
}

if (import.meta.main) await main(process.argv.slice(2));

async function main(argv: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      holdfast: { type: "string" },
      without: { type: "string" },
      only: { type: "string" },
      json: { type: "boolean" },
    },
  });
  const options: Options = { ...values, without: values.without?.split(",") ?? [] };
  if (positionals[0] === "everyday") {
    const report = await everyday(options);
    console.log(
      values.json
        ? JSON.stringify(report)
        : JSON.stringify(
            report.on.filter((item) => !item.ok),
            null,
            2,
          ),
    );
    process.exit(0);
  }
  if (positionals[0] === "granted") {
    console.log(JSON.stringify(await granted(options)));
    process.exit(0);
  }
  const report = await suite(options);
  if (values.json) console.log(JSON.stringify(report));
  else console.log([table(report.rows), ...report.problems].join("\n"));
  process.exit(report.problems.length === 0 ? 0 : 1);
}

async function suite(options: Options): Promise<SuiteReport> {
  return await within(options, async (self, world, facts) => {
    const confined = await confinement(self, facts, world.folder);
    const plugin = await pluginText();
    const pattern = new RegExp(options.only ?? "");
    try {
      const rows = await runSuite({
        self,
        world,
        plugin,
        off: unconfined(self, world.folder),
        on: confined.start,
        only: (attack) => pattern.test(attack.id),
      });
      const protections = protectionsOf(facts, "on", { uid: facts.root });
      const problems = disagreements(rows, protections);
      return { facts, protections, rows, problems, tooCareful: stoppedAllTheSame(rows, protections) };
    } finally {
      await confined.close();
    }
  });
}

async function granted(options: Options): Promise<GrantedReport> {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("granted") });
  const endpoint = { host: "127.0.0.1", port: server.port! };
  const report = await within(options, async (self, world, facts) => {
    const confined = await confinement(self, facts, world.folder, (grant) => ({
      ...grant,
      connect: [endpoint],
    }));
    try {
      const rows = await runSuite({
        self,
        world,
        plugin: await pluginText(),
        off: unconfined(self, world.folder),
        on: confined.start,
        only: (attack) => attack.level === "network" && attack.proof === "hello",
      });
      const got = await output(
        confined.start,
        world,
        `curl -sS --max-time 5 http://127.0.0.1:${endpoint.port}/`,
      );
      return { facts, rows, got };
    } finally {
      await confined.close();
    }
  });
  await server.stop(true);
  return report;
}

async function everyday(options: Options): Promise<EverydayReport> {
  return await within(options, async (self, world, facts) => {
    const confined = await confinement(self, facts, world.folder);
    try {
      const off = await runEveryday(unconfined(self, world.folder), world);
      return { facts, off, on: await runEveryday(confined.start, world) };
    } finally {
      await confined.close();
    }
  });
}

async function within<T>(
  options: Options,
  work: (self: Self, world: World, facts: KernelFacts) => Promise<T>,
): Promise<T> {
  const world = await World.open();
  try {
    const self = selfOf(options.holdfast === undefined ? undefined : ownCopy(options.holdfast, world.folder));
    world.program = self.command[0]!;
    const facts = await probeKernel(self.command);
    const abi = options.without.find((item) => item.startsWith("abi="))?.slice(4);
    const lacks = options.without.filter((item): item is Lack => LACKS.includes(item as Lack));
    return await work(self, world, degrade(facts, lacks, abi === undefined ? undefined : Number(abi)));
  } finally {
    world.close();
  }
}

/** Attacks try to replace the executable. */
function ownCopy(path: string, folder: string): string {
  const own = join(folder, "bin", "holdfast");
  mkdirSync(join(folder, "bin"));
  copyFileSync(path, own);
  chmodSync(join(folder, "bin"), 0o777);
  chmodSync(own, 0o755);
  return own;
}

async function pluginText(): Promise<string> {
  const beside = join(import.meta.dir, "attack-plugin.js");
  return existsSync(beside) ? await Bun.file(beside).text() : await bundlePlugin();
}
