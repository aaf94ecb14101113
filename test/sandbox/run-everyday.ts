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

const LIFE_MS = 120_000;

/** Commands whose program is on this host. */
export function possibleCommands(): EverydayCommand[] {
  return EVERYDAY.filter(({ id, program }) => Bun.which(program ?? id) !== null);
}

/** Runs the table in one script of one worker. */
export async function runEveryday(start: Starter, world: World): Promise<EverydayResult[]> {
  const commands = possibleCommands();
  const folder = world.codeFolder();
  const file = join(folder, "everyday.sh");
  writeFileSync(file, everydayScript(commands), { mode: 0o755 });
  const started = await start({ kind: "script", command: ["/bin/sh", file], code: folder });
  const late = setTimeout(() => started.kill(), LIFE_MS);
  const results = new Map<string, EverydayResult>();
  const reading = eachLine(started.stdout, (line) => {
    const [, word, id, why] = /^(OK|FAILED) ([^:]+)(?:: (.*))?$/.exec(line) ?? [];
    if (word && id) results.set(id, { id, ok: word === "OK", why: why ?? "" });
  });
  const errors = new Response(started.stderr).text().catch(() => "");
  await adoptChannel(started);
  const end = await started.exited;
  clearTimeout(late);
  await Promise.race([reading, Bun.sleep(500)]);
  const said = await Promise.race([errors, Bun.sleep(100).then(() => "")]);
  return commands.map(
    ({ id }) =>
      results.get(id) ?? {
        id,
        ok: false,
        why: `the script ended before it: ${end.text} ${said.slice(-300)}`,
      },
  );
}
