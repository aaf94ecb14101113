/**
 * The suite as a program, for another user, or for a booted guest without this checkout (`buildSuite` makes two files, and
 * the executable runs them: `BUN_BE_BUN=1 holdfast run suite.js suite --json --holdfast /path/of/holdfast`).
 *
 *   suite      the attacks, held against what `doctor` says of this host
 *   degraded   the same for parts of this kernel: each `--without` is a host
 *   granted    attacks by a worker that may connect to one other port, and whether it can
 *   everyday   the everyday commands of scripts
 *
 *   --holdfast PATH   the executable; without it the product in this checkout
 *   --without LIST    leaves parts of the kernel out (each one is a host for `degraded`, `granted` and `everyday`): landlock,seccomp,mountNamespace,netNamespace,cgroup,abi=2
 *   --only REGEX      attacks whose id matches
 *   --patience SECONDS  for how long a worker may say nothing
 *   --json            one JSON object
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { KernelFacts } from "../../src/agent/workers/sandbox/kernel-facts.ts";
import { probeKernel } from "../../src/agent/workers/sandbox/probe.ts";
import { protectionsOf } from "../../src/agent/workers/sandbox/protections.ts";
import type { Protections } from "../../src/model/protection.ts";
import type { Grant } from "../../src/model/grant.ts";
import type { Attack } from "./attack.ts";
import { disagreements, stoppedAllTheSame, table } from "./agreement.ts";
import { bundlePlugin } from "./bundle.ts";
import { type Confinement, confinement } from "./confined.ts";
import { degrade, type Lack, LACKS } from "./degrade.ts";
import { output } from "./run-script.ts";
import { type EverydayResult, runEveryday } from "./run-everyday.ts";
import { type Self, selfOf, unconfined } from "./starter.ts";
import { Suite, type SuiteRow } from "./suite.ts";
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
  /** One for each host. */
  without: string[];
  only?: string;
  patience?: string;
}

async function main(argv: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      holdfast: { type: "string" },
      without: { type: "string", multiple: true },
      only: { type: "string" },
      patience: { type: "string" },
      json: { type: "boolean" },
    },
  });
  const options: Options = { ...values, without: values.without ?? [""] };
  const name = positionals[0] as keyof typeof WORKS;
  const reports = await within<unknown[]>(options, WORKS[name]);
  if (values.json) console.log(JSON.stringify(name === "suite" ? reports[0] : reports));
  else for (const report of reports) console.log(readable(report as SuiteReport | EverydayReport));
  const failed = name === "suite" && (reports as SuiteReport[]).some(({ problems }) => problems.length > 0);
  process.exit(failed ? 1 : 0);
}

function readable(report: SuiteReport | EverydayReport | GrantedReport): string {
  if ("problems" in report) return [table(report.rows), ...report.problems].join("\n");
  return JSON.stringify("on" in report ? report.on.filter((item) => !item.ok) : report, null, 2);
}

/** Where the work is done: attacks that succeed unconfined do so whatever parts of the kernel the launcher leaves out. */
interface Place {
  self: Self;
  world: World;
  hosts: KernelFacts[];
  only?: string;
}

async function suite(place: Place): Promise<SuiteReport[]> {
  return await tryHosts(place);
}

/** Without the limits, which depend on other parts: a worker that may use all processors is through earlier. */
async function degraded(place: Place): Promise<SuiteReport[]> {
  return await tryHosts(place, unhurried);
}

async function tryHosts(
  { self, world, hosts, only }: Place,
  change?: (grant: Grant) => Grant,
): Promise<SuiteReport[]> {
  const pattern = new RegExp(only ?? "");
  const attacks = await prove({ self, world }, (attack) => pattern.test(attack.id));
  return await inTurn(hosts, async (facts) => {
    const rows = await confinedIn(self, facts, world, (confined) => attacks.confined(confined.start), change);
    const protections = protectionsOf(facts, "on", { uid: facts.root });
    const problems = disagreements(rows, protections);
    return { facts, protections, rows, problems, tooCareful: stoppedAllTheSame(rows, protections) };
  });
}

async function granted({ self, world, hosts }: Place): Promise<GrantedReport[]> {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("granted") });
  const endpoint = { host: "127.0.0.1", port: server.port! };
  const curl = `curl -sS --max-time 5 http://127.0.0.1:${endpoint.port}/`;
  const attacks = await prove(
    { self, world },
    (attack) => attack.level === "network" && attack.proof === "hello",
  );
  const change = (grant: Grant): Grant => ({ ...unhurried(grant), connect: [endpoint] });
  const reports = await inTurn(hosts, (facts) =>
    confinedIn(
      self,
      facts,
      world,
      async ({ start }) => ({
        rows: await attacks.confined(start),
        got: await output(start, world, curl),
      }),
      change,
    ),
  );
  await server.stop(true);
  return reports;
}

async function everyday({ self, world, hosts }: Place): Promise<EverydayReport[]> {
  const unhindered = runEveryday(unconfined(self, world.folder), world);
  const reports = hosts.map(async (facts) => {
    const [off, on] = await Promise.all([
      unhindered,
      confinedIn(self, facts, world, ({ start }) => runEveryday(start, world), unhurried),
    ]);
    return { facts, off, on };
  });
  return await Promise.all(reports);
}

/** Held to a share of a processor it would do the same, later. */
function unhurried(grant: Grant): Grant {
  return { ...grant, resources: { ...grant.resources, cpu: 4 } };
}

const WORKS = { suite, degraded, granted, everyday };

async function prove({ self, world }: Pick<Place, "self" | "world">, only: (attack: Attack) => boolean) {
  return await Suite.prove({
    self,
    world,
    plugin: await pluginText(),
    off: unconfined(self, world.folder),
    only,
  });
}

async function inTurn<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

async function confinedIn<T>(
  self: Self,
  facts: KernelFacts,
  world: World,
  work: (confined: Confinement) => Promise<T>,
  change?: (grant: Grant) => Grant,
): Promise<T> {
  const confined = await confinement(self, facts, world.folder, change);
  try {
    return await work(confined);
  } finally {
    await confined.close();
  }
}

async function within<T>(options: Options, work: (place: Place) => Promise<T>): Promise<T> {
  const world = await World.open();
  try {
    const self = selfOf(options.holdfast === undefined ? undefined : ownCopy(options.holdfast, world.folder));
    world.program = self.command[0]!;
    if (options.patience !== undefined) world.patienceMs = Number(options.patience) * 1000;
    const facts = await probeKernel(self.command);
    return await work({
      self,
      world,
      hosts: options.without.map((list) => withoutParts(facts, list)),
      only: options.only,
    });
  } finally {
    world.close();
  }
}

function withoutParts(facts: KernelFacts, list: string): KernelFacts {
  const items = list.split(",");
  const abi = items.find((item) => item.startsWith("abi="))?.slice(4);
  const lacks = items.filter((item): item is Lack => LACKS.includes(item as Lack));
  return degrade(facts, lacks, abi === undefined ? undefined : Number(abi));
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

if (import.meta.main) await main(process.argv.slice(2));
