/** `npm run build [-- --target linux-arm64] [--sourcemap] [--outfile FILE]`: the compiled executable in dist/. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildExecutable, ROOT, type Target, TARGETS } from "./executable.ts";
import { runScript } from "./run-command.ts";

const USAGE = "npm run build [-- --target NAME[,NAME…]] [--sourcemap] [--outfile FILE]";

await runScript("build", () => main(process.argv.slice(2)));

async function main(argv: string[]): Promise<void> {
  const { target, sourcemap, outfile } = readArguments(argv);
  const targets = (target ?? "").split(",").map((name) => (name === "" ? undefined : checkTarget(name)));
  if (outfile && targets.length > 1)
    throw new Error(`--outfile names one file, but there are several targets. ${USAGE}`);
  for (const name of targets) {
    const path = outfile ?? join(ROOT, "dist", name ? `holdfast-${name}` : "holdfast");
    const started = performance.now();
    const built = await buildExecutable({ outfile: path, sourcemap, ...(name && { target: name }) });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const size = (built.bytes / 1e6).toFixed(1);
    console.log(
      `${built.path}  ${size} MB  version ${built.version}  commit ${built.commit}  (${seconds} s)`,
    );
  }
}

function readArguments(argv: string[]) {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        target: { type: "string" },
        sourcemap: { type: "boolean", default: false },
        outfile: { type: "string" },
      },
    });
    return values;
  } catch (error) {
    throw new Error(
      `${(error as Error).message}\nUsage: ${USAGE}\nTargets: ${Object.keys(TARGETS).join(", ")}`,
    );
  }
}

function checkTarget(name: string): Target {
  if (Object.hasOwn(TARGETS, name)) return name as Target;
  throw new Error(`there is no target "${name}". Targets: ${Object.keys(TARGETS).join(", ")}`);
}
