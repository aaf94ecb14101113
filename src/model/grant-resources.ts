import { parseDuration } from "../core/duration.ts";
import { parseSize } from "../core/size.ts";
import { formatResources } from "./grant.ts";
import type { GrantNotes } from "./grant-notes.ts";
import { DEFAULT_RESOURCES, type Resources, type ResourcesInput } from "./permissions.ts";

const RESOURCE_NAMES = Object.keys(DEFAULT_RESOURCES) as (keyof Resources)[];

/** What a plugin asks for, with the defaults where it says nothing, and never more than the limit. */
export function decideResources(
  asked: ResourcesInput,
  limit: ResourcesInput | undefined,
  notes: GrantNotes,
): Resources {
  const wishes = readResources(asked);
  const limits = readResources(limit ?? {});
  const granted: Resources = { ...DEFAULT_RESOURCES, ...wishes };
  for (const name of RESOURCE_NAMES) {
    const [wish, most] = [granted[name], limits[name]];
    if (most === undefined || most === null || (wish !== null && wish <= most)) continue;
    // A default over the limit is nobody's wish: it is cut without a word.
    const before = formatResources(granted)[name];
    granted[name] = most;
    const allowed = formatResources(granted)[name];
    if (wishes[name] !== undefined) notes.exceed(`resources.${name}`, before, allowed, allowed);
  }
  return granted;
}

/** Bytes, milliseconds, cores and counts of what is written. */
export function readResources(input: ResourcesInput): Partial<Resources> {
  const { memory, cpu, cpuTime, wallTime, processes, openFiles, fileSize, disk, output } = input;
  const size = (text: string | undefined) => (text === undefined ? undefined : parseSize(text));
  const time = (text: string | undefined) => (text === undefined ? undefined : parseDuration(text));
  const all = {
    memory: size(memory),
    cpu,
    cpuTime: time(cpuTime),
    wallTime: time(wallTime),
    processes,
    openFiles,
    fileSize: size(fileSize),
    disk: size(disk),
    output: size(output),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
