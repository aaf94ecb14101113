import { lookup } from "node:dns/promises";
import { realpathSync } from "node:fs";
import type { Ids } from "../../../core/ids.ts";
import type { PermissionsInput } from "../../../model/permissions.ts";
import type { Launcher } from "../launch.ts";
import { type ScriptPipes, scriptPipeMaker } from "../scripts/script-pipes.ts";
import { type SelfCommand, selfCommand } from "../self-command.ts";
import { readGround } from "./ground.ts";
import { learnLauncher, type WorkerPlace } from "./learn-launcher.ts";
import { propose } from "./propose.ts";
import { keyOf, type Touch } from "./touch.ts";

export interface LearnOptions {
  /** Uses the plugin as it will be used, in workers of this launcher, and ends them. */
  run(launcher: Launcher): Promise<void>;
  /** Folder in which each worker gets a fresh one of its own. */
  workdir: string;
  ids: Ids;
  /** This program itself when absent. */
  self?: SelfCommand;
  /** Addresses of a name; asks the host when absent. */
  resolve?: (name: string) => Promise<string[]>;
}

export interface Lesson {
  touched: Touch[];
  proposal: PermissionsInput;
}

/**
 * Runs a plugin unconfined but watched, and proposes the permissions for its manifest. What it is refused by the host itself
 * counts as touched. Variables, secrets and host operations are not seen. Rejects with `run`'s error, and when this host
 * cannot watch a worker.
 */
export async function learnPlugin(options: LearnOptions): Promise<Lesson> {
  const { run, workdir, ids, self = selfCommand(), resolve = addressesOf } = options;
  const touched = new Map<string, Touch>();
  const places: WorkerPlace[] = [];
  const launcher = learnLauncher({
    self,
    openPipes: scriptPipes(),
    workdir,
    ids,
    onLaunch: (place) => void places.push(realPlace(place)),
    onTouches(touches) {
      for (const touch of touches) touched.set(keyOf(touch), touch);
    },
  });
  await run(launcher);
  const all = [...touched.values()];
  const names = await namesOf(all, resolve);
  return { touched: all, proposal: propose({ touched: all, places, ground: readGround(), names }) };
}

function scriptPipes(): () => ScriptPipes {
  let open: (() => ScriptPipes) | undefined;
  return () => (open ??= scriptPipeMaker())();
}

function realPlace({ kind, program, folder, code }: WorkerPlace): WorkerPlace {
  return { kind, program: real(program), folder: real(folder), code: code.map(real) };
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** The answers went to the worker; the same questions are asked again. Of several names the shortest counts. */
async function namesOf(
  touched: Touch[],
  resolve: (name: string) => Promise<string[]>,
): Promise<Map<string, string>> {
  const asked = [...new Set(touched.flatMap((touch) => (touch.what === "name" ? [touch.name] : [])))];
  const answers = await Promise.all(
    asked
      .toSorted((a, b) => b.length - a.length)
      .map(async (name) => ({ name, addresses: await resolve(name).catch(() => []) })),
  );
  return new Map(
    answers.flatMap(({ name, addresses }) => addresses.map((address) => [address, name] as const)),
  );
}

async function addressesOf(name: string): Promise<string[]> {
  const found = await lookup(name, { all: true });
  return found.map(({ address }) => address);
}
