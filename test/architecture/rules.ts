import { isGenerated, isProduct, type SourceFile } from "./source-file.ts";

/** Folder of src (or `plugins`) → what it may import besides itself. DESIGN section 2. */
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  model: ["core"],
  protocol: ["core", "model"],
  sdk: ["core", "model"],
  storage: ["core"],
  agent: ["core", "model", "protocol", "storage"],
  hub: ["core", "model", "protocol", "storage"],
  cli: ["core", "model", "protocol", "storage", "sdk", "agent", "hub"],
  plugins: ["sdk"],
};

/** The few places that cross a border on purpose, each with its reason. */
const EXCEPTIONS: { from: RegExp; to: RegExp; why: string }[] = [
  { from: /^src\/main\.ts$/, to: /^src\/cli\/cli\.ts$/, why: "the entry hands argv to the command line" },
  { from: /^src\/main\.ts$/, to: /^src\/agent\/workers\//, why: "the entry is also the plugin host" },
  { from: /^src\/main\.ts$/, to: /^src\/agent\/plugins\/shipped\.ts$/, why: "what that host may load" },
  { from: /^src\/agent\/workers\//, to: /^src\/sdk\//, why: "the plugin host gives plugins the SDK" },
  {
    from: /^src\/agent\/plugins\//,
    to: /^src\/sdk\//,
    why: "the catalog reads what plugins declare with the SDK",
  },
  { from: /^src\/agent\/plugins\/shipped\.ts$/, to: /^plugins\//, why: "the plugins inside the executable" },
];

const isOwn = (path: string) => /^(src|plugins)\//.test(path);

/** `core`, `agent`, … or `plugins`; undefined for src/main.ts. */
function layerOf(path: string): string | undefined {
  if (path.startsWith("plugins/")) return "plugins";
  return path.match(/^src\/([^/]+)\//)?.[1];
}

/** Imports against the directions between the folders of src. */
export function wrongDirections(files: SourceFile[]): string[] {
  return ownImports(files).flatMap(([from, to]) => {
    const [own, other] = [layerOf(from), layerOf(to)];
    if (EXCEPTIONS.some((exception) => exception.from.test(from) && exception.to.test(to))) return [];
    if (own === undefined) return [`${from} imports ${to}: the entry may only hand over`];
    if (!(own in MAY_IMPORT)) return [`${from}: there is no folder src/${own} in the design`];
    if (own === "plugins" && other === "plugins" && pluginOf(from) !== pluginOf(to)) {
      return [`${from} imports ${to}: a plugin may import src/sdk and its own folder only`];
    }
    if (own === other || MAY_IMPORT[own]!.includes(other ?? "")) return [];
    return [`${from} imports ${to}: ${own} may import ${MAY_IMPORT[own]!.join(", ") || "nothing of ours"}`];
  });
}

const pluginOf = (path: string) => path.split("/")[1];

/** Imports between rooms of the agent or of the hub. Files at the root of src/agent and src/hub compose the rooms. */
export function crossedRooms(files: SourceFile[]): string[] {
  return ownImports(files).flatMap(([from, to]) => {
    const room = from.match(/^src\/(agent|hub)\/([^/]+)\//);
    if (!room || !to.startsWith(`src/${room[1]}/`) || to.startsWith(room[0])) return [];
    return [
      `${from} imports ${to}: a room knows only itself; declare a port and let ${room[1]}.ts hand it in`,
    ];
  });
}

/** Product code that imports test support. */
export function importedTestCode(files: SourceFile[]): string[] {
  return files
    .filter((file) => isProduct(file.path))
    .flatMap((file) =>
      file.imports
        .filter((to) => /^(src\/testing|test|bench|scripts)\/|\.test\.tsx?$|^bun:test$/.test(to))
        .map((to) => `${file.path} imports ${to}: product code does not use test code`),
    );
}

function ownImports(files: SourceFile[]): [from: string, to: string][] {
  return files
    .filter((file) => isProduct(file.path))
    .flatMap((file) =>
      file.imports
        .filter((to) => isOwn(to) && !to.startsWith("src/testing/"))
        .map((to): [string, string] => [file.path, to]),
    );
}

/** Circles of imports, each once, as the chain of files. */
export function importCycles(files: SourceFile[]): string[] {
  const graph = new Map(files.map((file) => [file.path, file.imports.filter(isOwn)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: string[]) => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path].join(" → "));
    if (start >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}

const AMBIENT: [pattern: RegExp, instead: string][] = [
  [/\bDate\.now\b/g, "a Clock"],
  [/\bnew Date(?:\s*\(\s*\)|(?!\s*\(|\w))/g, "a Clock"],
  [/(?<![\w.$]|new )Date\s*\(\s*\)/g, "a Clock"],
  [/\bperformance\.now\b/g, "a Clock"],
  [/\bMath\.random\b/g, "Ids"],
  [/(?<![\w$.])(?:setTimeout|setInterval)\s*\(/g, "Clock.after or Clock.sleep"],
  [/\b(?:globalThis|window|self)\s*\.\s*(?:setTimeout|setInterval)\b/g, "Clock.after or Clock.sleep"],
  [/\bBun\.sleep(?:Sync)?\b/g, "Clock.sleep"],
];

/** Time, randomness and timers that are taken from the air instead of handed in; only src/core may. */
export function ambientInputs(files: SourceFile[]): string[] {
  return files
    .filter((file) => isProduct(file.path) && !file.path.startsWith("src/core/") && !isGenerated(file.path))
    .flatMap((file) => [
      ...AMBIENT.flatMap(([pattern, instead]) =>
        [...file.code.matchAll(pattern)].map((match) => {
          const line = file.code.slice(0, match.index).split("\n").length;
          return `${file.path}:${line} uses ${match[0].trim()}: take ${instead} as an argument`;
        }),
      ),
      ...file.imports
        .filter((to) => /^(node:)?timers(\/promises)?$/.test(to))
        .map((to) => `${file.path} imports ${to}: take a Clock as an argument`),
    ]);
}

const NAME = /^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?\.tsx?$/;
const FOLDER = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/** Names that are not kebab-case, and names that say nothing. */
export function badNames(files: SourceFile[]): string[] {
  return files.flatMap(({ path }) => {
    const parts = path.split("/");
    const name = parts.pop()!;
    if (/^index\.tsx?$/.test(name)) return [`${path}: no barrel files; import what you mean`];
    if (/^(utils?|helpers?|misc|common)\b/.test(name)) return [`${path}: name it by what it does`];
    if (!NAME.test(name) || !parts.every((part) => FOLDER.test(part)))
      return [`${path}: names are kebab-case`];
    return [];
  });
}

export const MAX_LINES = 500;
export const GOOD_LINES = 250;

export function overlongFiles(files: SourceFile[], limit = MAX_LINES): string[] {
  return files
    .filter((file) => file.lines > limit && !isGenerated(file.path))
    .map((file) => `${file.path}: ${file.lines} lines, at most ${limit}`);
}
