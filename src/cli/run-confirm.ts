import { HoldfastError } from "../core/errors.ts";
import { terminalAsk } from "./run-arguments.ts";

/** A yes on the terminal, or `--yes`. Throws `usage` where nobody can be asked. */
export async function confirmed(question: string, yes: boolean, verb: string): Promise<boolean> {
  if (yes) return true;
  const terminal = await terminalAsk();
  if (!terminal) {
    throw new HoldfastError(
      "usage",
      `${verb} asks before it does this, and there is no terminal: give --yes`,
    );
  }
  try {
    return /^y(es)?$/i.test((await terminal.ask(`${question} [y/N] `))?.trim() ?? "");
  } finally {
    terminal.close();
  }
}
