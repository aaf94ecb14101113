import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SelfCommand } from "../self-command.ts";

/**
 * The file that a script finds as `holdfast`: the executable itself, or from source one in `folder` that Bun runs. It names Bun
 * as its interpreter, so that a script that may start nothing else needs no shell for it. Workers cannot write there.
 */
export function callProgram({ command }: SelfCommand, folder: string): string {
  const [program, ...rest] = command as [string, ...string[]];
  const main = rest.at(-1);
  if (main === undefined) return program;
  const path = join(folder, "holdfast");
  const flags = rest.slice(0, -1).join(" ");
  const text = `#!${program} ${flags}\nimport ${JSON.stringify(main)};\n`;
  // Another script may be reading it just now.
  if (existsSync(path) && readFileSync(path, "utf8") === text) return path;
  mkdirSync(folder, { recursive: true, mode: 0o750 });
  writeFileSync(path, text, { mode: 0o750 });
  return path;
}
