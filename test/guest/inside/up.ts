/** `holdfast up` from an empty folder to a reaction: what `npm start` does. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Role } from "../guests.ts";
import { freshFolder, start, until } from "./agents.ts";
import { expectSame, expectTrue } from "./checks.ts";

const ERRORS = 4;
const EACH_MS = 45_000;

export async function reactsToAnError(executable: string, role: Role): Promise<void> {
  const home = freshFolder(role, "up");
  const command = ["up", "--home", home, "--port", "0", "--id", "guest-01", "--json"];
  const up = await start(role, "up", [executable, ...command]);
  try {
    const root = up.ready.agent.home as string;
    const reactions = join(root, "reactions.log");
    const reacted = () => existsSync(reactions) && readFileSync(reactions, "utf8").includes("disk on fire");
    // The pipeline's time may be up before a busy, emulated machine has started the first worker; the next finds it there.
    for (let line = 1; !reacted() && line <= ERRORS; line += 1) {
      appendFileSync(join(root, "sample.log"), `ERROR disk on fire ${line}\n`);
      await until("reactions.log", reacted, EACH_MS).catch((error) => {
        if (line === ERRORS) throw error;
      });
    }
    const health = await fetch(new URL("/readyz?verbose", up.ready.agent.health));
    expectTrue(`ready: ${await health.text()}`, health.status === 200);
  } catch (error) {
    await up.kill();
    throw new Error(`${(error as Error).message}\n${up.said()}`);
  }
  expectSame("exit code of a stopped `up`", await up.stop(), 0);
}
