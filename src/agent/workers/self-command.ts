/** How this program starts itself: compiled it is the executable, from source Bun on src/main.ts. */
export interface SelfCommand {
  /** Command line up to the first argument of ours. */
  command: string[];
  /** What a confined worker must be able to read to become us; the executable itself is always among it. */
  code: string[];
}

export function selfCommand(): SelfCommand {
  const here = Bun.fileURLToPath(import.meta.url);
  if (isEmbedded(here) || isEmbedded(Bun.main)) return { command: [process.execPath], code: [] };
  const root = (path: string) => Bun.fileURLToPath(new URL(`../../../${path}`, import.meta.url));
  // --no-install: a plugin's import of a missing package is an error, never a download.
  return {
    command: [process.execPath, "--no-install", root("src/main.ts")],
    code: ["src", "plugins", "node_modules", "package.json", "tsconfig.json", "bunfig.toml"].map(root),
  };
}

/** Bun keeps the modules of a compiled executable under a virtual root. */
function isEmbedded(path: string): boolean {
  return path.startsWith("/$bunfs/");
}
