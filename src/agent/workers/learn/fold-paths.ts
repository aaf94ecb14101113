import { dirname } from "node:path";

/** So many neighbours are taken to mean their folder; fewer where the list would be too long for a manifest. */
const MANY = [4, 2];
const MAX_PATHS = 150;

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/** Many entries of one folder become that folder, and what lies in another path of the list is left out. */
export function foldPaths(paths: string[]): string[] {
  let folded = paths;
  for (const many of MANY) {
    folded = fold(folded, many);
    if (folded.length <= MAX_PATHS) break;
  }
  return folded;
}

function fold(paths: string[], many: number): string[] {
  const left = fewest(paths);
  const folders = Map.groupBy(left, (path) => dirname(path));
  const full = [...folders].filter(([folder, entries]) => entries.length >= many && isFoldable(folder));
  return full.length === 0 ? left : fold([...left, ...full.map(([folder]) => folder)], many);
}

/** Never the root or a folder in it (/etc, /var, /home): they hold what has nothing to do with one another. */
function isFoldable(folder: string): boolean {
  return folder.split("/").length > 2;
}

function fewest(paths: string[]): string[] {
  const all = new Set(paths);
  return [...all].filter((path) => !isCovered(path, all)).toSorted();
}

/** Some folder on the way to it is in the list. */
function isCovered(path: string, all: ReadonlySet<string>): boolean {
  for (let folder = dirname(path), below = path; folder !== below; below = folder, folder = dirname(folder)) {
    if (all.has(folder)) return true;
  }
  return false;
}
