import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { adoptChannel } from "./run-attack.ts";
import type { Starter } from "./starter.ts";
import type { World } from "./world.ts";

const LIFE_MS = 20_000;

/** What one script says on stdout and stderr. */
export async function output(start: Starter, world: World, code: string): Promise<string> {
  const folder = world.codeFolder();
  const file = join(folder, "script.sh");
  writeFileSync(file, `exec 2>&1\n${code}\n`, { mode: 0o755 });
  const started = await start({ kind: "script", command: ["/bin/sh", file], code: folder });
  const late = setTimeout(() => started.kill(), LIFE_MS);
  void new Response(started.stderr).text().catch(() => {});
  await adoptChannel(started);
  const said = await new Response(started.stdout).text();
  await started.exited;
  clearTimeout(late);
  return said;
}
