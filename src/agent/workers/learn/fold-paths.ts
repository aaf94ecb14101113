import { dirname } from "node:path";

/** So many neighbours are taken to mean their folder. */
const MANY = 4;

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

/** Many entries of one folder become that folder, and what lies in another path of the list is left out. */
export function foldPaths(paths: string[]): string[] {
  const folded = fewest(paths);
  const folders = Map.groupBy(folded, (path) => dirname(path));
  const many = [...folders].filter(([folder, entries]) => entries.length >= MANY && isFoldable(folder));
  if (many.length === 0) return folded;
  return foldPaths([...folded, ...many.map(([folder]) => folder)]);
}

/** Never the root or a folder in it (/etc, /var, /home): they hold what has nothing to do with one another. */
function isFoldable(folder: string): boolean {
  return folder.split("/").length > 2;
}

function fewest(paths: string[]): string[] {
  const all = [...new Set(paths)].toSorted();
  return all.filter((path) => !all.some((other) => other !== path && isWithin(path, other)));
}
