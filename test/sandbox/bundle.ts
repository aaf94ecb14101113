import { join } from "node:path";

/** The attacking plugin as one file of JavaScript; its SDK comes from the plugin host. */
export async function bundlePlugin(): Promise<string> {
  const result = await Bun.build({
    entrypoints: [join(import.meta.dir, "attack-plugin.ts")],
    target: "bun",
    external: ["holdfast"],
    throw: false,
  });
  if (!result.success)
    throw new Error(`the attacking plugin does not build:\n${result.logs.map(String).join("\n")}`);
  return await result.outputs[0]!.text();
}
