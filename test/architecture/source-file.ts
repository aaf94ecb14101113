import { dirname, join, normalize } from "node:path";
import { maskSource } from "./mask-source.ts";

export interface SourceFile {
  /** Below the root of the project, with slashes. */
  path: string;
  lines: number;
  /** The source without comments and the insides of strings. */
  code: string;
  /** What it imports, type-only imports too: paths below the root for our own files, names for packages. */
  imports: string[];
}

/** `import … from`, `export … from`, `import "…"`, `import("…")` (also in types), a Worker's `new URL("…", import.meta.url)`. */
const SPECIFIERS = [
  /\bfrom\s*(?=["'])/g,
  /\bimport\s*(?=["'])/g,
  /\bimport\s*\(\s*(?=["'])/g,
  /\bnew URL\(\s*(?=["'])/g,
];

export function parseFile(path: string, source: string): SourceFile {
  const { code, strings } = maskSource(source);
  const imports = new Set<string>();
  for (const pattern of SPECIFIERS) {
    for (const match of code.matchAll(pattern)) {
      const specifier = strings.get(match.index + match[0].length);
      if (specifier === undefined) continue;
      // Only a Worker's file; src/main.ts is named where the program starts itself again.
      const isUrl = pattern.source.includes("URL");
      if (isUrl && specifier.endsWith("/main.ts")) continue;
      if (!isUrl || /^\.{1,2}\/.*\.tsx?$/.test(specifier)) imports.add(resolve(path, specifier));
    }
  }
  return {
    path,
    code,
    imports: [...imports],
    lines: source.split("\n").length - (source.endsWith("\n") ? 1 : 0),
  };
}

function resolve(from: string, specifier: string): string {
  // tsconfig.json maps the name that plugins use.
  if (specifier === "holdfast") return "src/sdk/holdfast.ts";
  return specifier.startsWith(".") ? normalize(join(dirname(from), specifier)) : specifier;
}

/** All TypeScript files of these folders. */
export async function readFiles(root: string, folders: string[]): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (const folder of folders) {
    for await (const path of new Bun.Glob(`${folder}/**/*.{ts,tsx}`).scan({ cwd: root })) {
      files.push(parseFile(path, await Bun.file(join(root, path)).text()));
    }
  }
  return files.sort((a, b) => a.path.localeCompare(b.path));
}

export const isTest = (path: string) => /\.test\.tsx?$/.test(path);
export const isGenerated = (path: string) => path.startsWith("src/protocol/gen/");
/** Code that goes into the executable. */
export const isProduct = (path: string) =>
  /^(src|plugins)\//.test(path) && !isTest(path) && !path.startsWith("src/testing/");
