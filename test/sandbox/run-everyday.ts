import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { EVERYDAY, type EverydayCommand, everydayScript } from "./everyday-commands.ts";
import { adoptChannel, eachLine } from "./run-attack.ts";
import type { Starter } from "./starter.ts";
import type { World } from "./world.ts";

export interface EverydayResult {
  id: string;
  ok: boolean;
  why: string;
}

/** One command may do much more than one attack. */
const PATIENCE = 4;

/** Commands whose program is on this host. */
export function possibleCommands(): EverydayCommand[] {
  return EVERYDAY.filter(({ id, program }) => Bun.which(program ?? id) !== null);
}

/** Runs the table in one script of one worker; where a command ends the worker, the rest goes on in another. */
export async function runEveryday(start: Starter, world: World): Promise<EverydayResult[]> {
  const commands = possibleCommands();
  const results = new Map<string, EverydayResult>();
  for (let left = commands; left.length > 0; left = commands.filter(({ id }) => !results.has(id))) {
    const before = results.size;
    const said = await runOnce(start, world, left, results);
    if (results.size === before) throw new Error(`a worker for everyday commands did not start: ${said}`);
  }
  return commands.map(({ id }) => results.get(id)!);
}

async function runOnce(
  start: Starter,
  world: World,
  commands: EverydayCommand[],
  results: Map<string, EverydayResult>,
): Promise<string> {
  const folder = world.codeFolder();
  const file = join(folder, "everyday.sh");
  writeFileSync(file, everydayScript(commands), { mode: 0o755 });
  const started = await start({ kind: "script", command: ["/bin/sh", file], code: folder });
  const late = setTimeout(() => started.kill(), PATIENCE * world.patienceMs);
  let current: string | undefined;
  const reading = eachLine(started.stdout, (line) => {
    late.refresh();
    const [, word, id, why] = /^(BEGIN|OK|FAILED) ([^:]+)(?:: (.*))?$/.exec(line) ?? [];
    if (id === undefined) return;
    current = word === "BEGIN" ? id : undefined;
    if (word !== "BEGIN") results.set(id, { id, ok: word === "OK", why: why ?? "" });
  });
  const errors = new Response(started.stderr).text().catch(() => "");
  await adoptChannel(started);
  const end = await started.exited;
  clearTimeout(late);
  const lastWords = world.patienceMs / 10;
  await Promise.race([reading, Bun.sleep(lastWords)]);
  if (current !== undefined)
    results.set(current, { id: current, ok: false, why: `it ended the script: ${end.text}` });
  return `${end.text} ${(await Promise.race([errors, Bun.sleep(lastWords).then(() => "")])).slice(-500)}`;
}
