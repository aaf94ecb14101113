/** `holdfast up` from an empty folder to a reaction: what `npm start` does. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Role } from "../guests.ts";
import { freshFolder, start, until } from "./agents.ts";
import { expectSame, expectTrue } from "./checks.ts";

export async function reactsToAnError(executable: string, role: Role): Promise<void> {
  const home = freshFolder(role, "up");
  const command = ["up", "--home", home, "--port", "0", "--id", "guest-01", "--json"];
  const up = await start(role, "up", [executable, ...command]);
  try {
    const root = up.ready.agent.home as string;
    const reactions = join(root, "reactions.log");
    appendFileSync(join(root, "sample.log"), "ERROR disk on fire\n");
    await until(
      "reactions.log",
      () => existsSync(reactions) && readFileSync(reactions, "utf8").includes("disk on fire"),
    );
    const health = await fetch(new URL("/readyz?verbose", up.ready.agent.health));
    expectTrue(`ready: ${await health.text()}`, health.status === 200);
  } catch (error) {
    await up.kill();
    throw new Error(`${(error as Error).message}\n${up.said()}`);
  }
  expectSame("exit code of a stopped `up`", await up.stop(), 0);
}
