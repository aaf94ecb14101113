/**
 * `npm run proto`: generates src/protocol/gen from proto/, formatted. With --check it generates into a temporary folder
 * and fails when the committed code differs.
 */
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./executable.ts";
import { runCommand, runScript } from "./run-command.ts";

const GENERATED = join(ROOT, "src/protocol/gen");

await runScript("proto", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-proto-"));
  try {
    await generate(folder);
    const fresh = join(folder, "src/protocol/gen");
    if (process.argv.includes("--check")) return await compare(fresh);
    await rm(GENERATED, { recursive: true, force: true });
    await cp(fresh, GENERATED, { recursive: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** The template writes to ../src/protocol/gen, so a copy of proto/ generates beside itself; bunfig.toml sets the format. */
async function generate(into: string): Promise<void> {
  await cp(join(ROOT, "proto"), join(into, "proto"), { recursive: true });
  await cp(join(ROOT, "bunfig.toml"), join(into, "bunfig.toml"));
  await runCommand(["buf", "generate"], { cwd: join(into, "proto") });
  await runCommand(["bun", "fmt", "--no-script", "src"], { cwd: into, quiet: true });
}

async function compare(fresh: string): Promise<number> {
  const list = async (path: string) =>
    (await readdir(path, { recursive: true })).filter((name) => name.endsWith(".ts"));
  const names = new Set([...(await list(fresh)), ...(await list(GENERATED))]);
  const read = async (path: string) => ((await Bun.file(path).exists()) ? await Bun.file(path).text() : "");
  let stale = 0;
  for (const name of names) {
    if ((await read(join(fresh, name))) === (await read(join(GENERATED, name)))) continue;
    console.error(`src/protocol/gen/${name} is not what proto/ generates: run npm run proto`);
    stale += 1;
  }
  return stale === 0 ? 0 : 1;
}
