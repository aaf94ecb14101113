/** True inside a compiled executable, whose modules live in a virtual folder. */
export function isCompiled(): boolean {
  return Bun.main.startsWith("/$bunfs/");
}

/** The command that starts this program again: the executable itself, or Bun with our entry. */
export function selfCommand(): string[] {
  return isCompiled()
    ? [process.execPath]
    : [process.execPath, new URL("../main.ts", import.meta.url).pathname];
}

/** How a person calls this program here, for commands that we print. */
export function invocation(): string {
  if (isCompiled()) return process.argv0.includes("/") ? process.argv0 : "holdfast";
  return "./holdfast";
}
