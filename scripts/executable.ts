import { chmod, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HELD_BACK } from "../src/core/jit.ts";

export const ROOT = dirname(import.meta.dir);

/** What `--target` takes, and what Bun calls it. */
export const TARGETS = {
  "linux-x64": "bun-linux-x64",
  "linux-arm64": "bun-linux-arm64",
  "linux-x64-musl": "bun-linux-x64-musl",
  "linux-arm64-musl": "bun-linux-arm64-musl",
  "darwin-x64": "bun-darwin-x64",
  "darwin-arm64": "bun-darwin-arm64",
} as const satisfies Record<string, Bun.Build.CompileTarget>;

export type Target = keyof typeof TARGETS;

/**
 * Files that run as a Bun Worker: each must be an entrypoint of its own, and is found in the executable by its path
 * below src (`new Worker("./agent/store/thread.ts")`), because the bundler flattens everything else into one module.
 */
const PRODUCT_ENTRYPOINTS = [
  "src/main.ts",
  "src/agent/store/thread.ts",
  "src/agent/workers/learn/watch-thread.ts",
];

/** Where Bun shows the files inside an executable; nothing on disk has this path. */
const EMBEDDED_ROOT = "/$bunfs/root";

export interface BuildOptions {
  /** Where the executable goes; it appears there whole or not at all. */
  outfile: string;
  /** Another platform than this machine's. */
  target?: Target;
  /** Embeds a source map (2.5 MB), so that stack traces name source lines. */
  sourcemap?: boolean;
  /** Entry file of something else than the product, such as a benchmark's baseline. */
  entry?: string;
}

export interface BuiltExecutable {
  path: string;
  bytes: number;
  version: string;
  commit: string;
}

/** Compiles one executable. Throws an Error that says what failed; an executable of before stays where it was. */
export async function buildExecutable(options: BuildOptions): Promise<BuiltExecutable> {
  const facts = await buildFacts();
  // The executable's own name becomes its module's name: build under the final name, in a folder of this build's own.
  const folder = join(dirname(options.outfile), `.build-${process.pid}-${crypto.randomUUID().slice(0, 8)}`);
  const temporary = join(folder, basename(options.outfile));
  await mkdir(folder, { recursive: true });
  try {
    await compile(options, temporary, facts);
    await refuseBuildPaths(temporary);
    await chmod(temporary, 0o755);
    await rename(temporary, options.outfile);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { path: options.outfile, bytes: (await stat(options.outfile)).size, ...facts };
}

async function compile(options: BuildOptions, outfile: string, facts: BuildFacts): Promise<void> {
  const entrypoints = options.entry ? [options.entry] : PRODUCT_ENTRYPOINTS.map((path) => join(ROOT, path));
  for (const path of entrypoints) {
    if (!(await Bun.file(path).exists()))
      throw new Error(`${path} is to go into the executable, but is missing`);
  }
  const result = await Bun.build({
    entrypoints,
    root: options.entry ? dirname(options.entry) : join(ROOT, "src"),
    format: "esm",
    bytecode: true,
    minify: true,
    // A chunk for each lazy import: in one file, an idle agent would hold 6 MB of code that only others run.
    splitting: true,
    sourcemap: options.sourcemap ? "linked" : "none",
    define: {
      // CommonJS packages get these as constants of the build machine (grpc-js looks for .proto files beside them).
      __dirname: JSON.stringify(EMBEDDED_ROOT),
      __filename: JSON.stringify(EMBEDDED_ROOT),
      "process.env.HOLDFAST_VERSION": JSON.stringify(facts.version),
      "process.env.HOLDFAST_COMMIT": JSON.stringify(facts.commit),
      "process.env.HOLDFAST_BUILD_TIME_MS": JSON.stringify(String(facts.timeMs)),
    },
    compile: {
      outfile,
      // Start-up code is not worth compiling: less memory for an idle agent. Those with work set it back (setJITPolicy).
      jitPolicy: HELD_BACK,
      // Of an idle agent's second start: BUN_BYTECODE_ORDER_OUT=%p.order dist/holdfast agent run (the first file: the other is
      // of the process that reads the settings). Record again when what is loaded at start moves: stale it costs up to 2 MB.
      bytecodeOrder: join(ROOT, "scripts/startup.order"),
      ...(options.target && { target: TARGETS[options.target] }),
      // A .env or bunfig.toml in the working directory must not reach into the executable; plugins need package.json.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: true,
    },
    throw: false,
  });
  if (!result.success) {
    throw new Error(`the build of ${options.outfile} failed:\n${result.logs.map(String).join("\n")}`);
  }
}

interface BuildFacts {
  version: string;
  commit: string;
  timeMs: number;
}

async function buildFacts(): Promise<BuildFacts> {
  const { version } = (await Bun.file(join(ROOT, "package.json")).json()) as { version: string };
  // SOURCE_DATE_EPOCH: https://reproducible-builds.org/specs/source-date-epoch/
  const epoch = process.env.SOURCE_DATE_EPOCH;
  return { version, commit: gitCommit(), timeMs: epoch ? Number(epoch) * 1000 : Date.now() };
}

/** `unknown` outside a git checkout (a source archive), `-dirty` behind it when the tree has changes. */
function gitCommit(): string {
  const git = (...args: string[]) => Bun.spawnSync(["git", ...args], { cwd: ROOT, stderr: "ignore" });
  try {
    const head = git("rev-parse", "--short=12", "HEAD");
    if (head.exitCode !== 0) return "unknown";
    const changes = git("status", "--porcelain", "--untracked-files=no").stdout.toString().trim();
    return head.stdout.toString().trim() + (changes ? "-dirty" : "");
  } catch {
    return "unknown";
  }
}

/** The build machine's folders mean nothing on the target, and code that looks there would load what lies there. */
async function refuseBuildPaths(path: string): Promise<void> {
  const found = await findText(path, ROOT);
  if (found.length === 0) return;
  throw new Error(
    `the executable holds the path of this checkout ${found.length} times, first: "${found[0]}". ` +
      "Some module was bundled with a path of its own; import another entry of that package.",
  );
}

/** Each place of `text` in a file, with what stands around it, up to 20. */
export async function findText(path: string, text: string): Promise<string[]> {
  const needle = Buffer.from(text);
  const handle = await open(path, "r");
  const found: string[] = [];
  try {
    const content = Buffer.from(await handle.readFile());
    for (
      let at = content.indexOf(needle);
      at >= 0 && found.length < 20;
      at = content.indexOf(needle, at + 1)
    ) {
      found.push(content.toString("latin1", Math.max(0, at - 40), at + 120).replace(/[^\x20-\x7e]+/g, " "));
    }
  } finally {
    await handle.close();
  }
  return found;
}
