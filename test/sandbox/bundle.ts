import { join } from "node:path";

/** The attacking plugin as one file of JavaScript; its SDK comes from the plugin host. */
export function bundlePlugin(): Promise<string> {
  return bundle("attack-plugin.ts", ["holdfast"]);
}

/** `suite.js` and `attack-plugin.js`: all that a host without this checkout needs beside the executable. */
export async function buildSuite(folder: string): Promise<void> {
  await Bun.write(join(folder, "attack-plugin.js"), await bundlePlugin());
  await Bun.write(join(folder, "suite.js"), await bundle("guest-main.ts", []));
}

async function bundle(entry: string, external: string[]): Promise<string> {
  const result = await Bun.build({
    entrypoints: [join(import.meta.dir, entry)],
    target: "bun",
    external,
    throw: false,
  });
  if (!result.success) throw new Error(`${entry} does not build:\n${result.logs.map(String).join("\n")}`);
  return await result.outputs[0]!.text();
}
