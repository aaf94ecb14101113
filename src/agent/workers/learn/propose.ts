import { dirname } from "node:path";
import { formatEndpoint } from "../../../model/grant.ts";
import { type PermissionsInput, SYSTEM_PATHS } from "../../../model/permissions.ts";
import { foldPaths, isWithin } from "./fold-paths.ts";
import type { Ground } from "./ground.ts";
import type { WorkerPlace } from "./learn-launcher.ts";
import type { Touch } from "./touch.ts";

export interface Learned {
  touched: readonly Touch[];
  /** Of the workers that were watched. */
  places: readonly WorkerPlace[];
  ground: Ground;
  /** By address, the name by which it was looked up. */
  names: ReadonlyMap<string, string>;
}

const WRITABLE_DEVICES = ["/dev/null", "/dev/zero", "/dev/full"];
/** Of the host's own programs so many are named one by one. */
const FEW_PROGRAMS = 8;
const NAME_SERVER_PORT = 53;

type Of<What extends Touch["what"]> = Extract<Touch, { what: What }>;

/** The permissions that a worker needs to do again what it did, beyond what every worker gets; only those it needs. */
export function propose(learned: Learned): PermissionsInput {
  const exec = programs(learned);
  const connect = endpoints(learned, "connect");
  const udp = endpoints(learned, "udp");
  const write = written(learned);
  const read = readPaths(
    learned,
    { starts: exec.length > 0, networked: connect.length + udp.length > 0 },
    write,
  );
  const lists = {
    read,
    write,
    connect,
    listen: unique(of(learned, "listen").map(({ port }) => String(port))),
    udp,
    unix: unique(of(learned, "unix").map(({ path }) => path)).filter(isWritable),
    exec,
  };
  return {
    ...Object.fromEntries(Object.entries(lists).filter(([, items]) => items.length > 0)),
    ...(of(learned, "icmp").length > 0 ? { icmp: true } : {}),
  };
}

function of<What extends Touch["what"]>({ touched }: Learned, what: What): Of<What>[] {
  return touched.filter((touch): touch is Of<What> => touch.what === what);
}

const unique = (items: string[]): string[] => [...new Set(items)].toSorted();
const isIn = (path: string, places: readonly string[]): boolean =>
  places.some((place) => isWithin(path, place));

/** References, and the sign for what may be absent, cannot be told from a name that has them. */
const isWritable = (path: string): boolean => !path.includes("${") && !path.endsWith("?");

function readPaths(
  learned: Learned,
  needs: { starts: boolean; networked: boolean },
  write: string[],
): string[] {
  const { places, ground } = learned;
  const kinds = new Set(places.map(({ kind }) => kind));
  const free = [
    ...(kinds.has("host") ? ground.host : []),
    ...(kinds.has("script") || needs.starts ? ground.programs : []),
    ...(needs.networked ? ground.network : []),
    ...places.flatMap(({ folder, code, program }) => [folder, ...code, program]),
    ...write,
  ];
  // What is looked for in the folders above its code is no wish of the plugin: it is the engine that looks for packages.
  const above = places.flatMap(({ folder, code, program }) => [folder, ...code, program]);
  const paths = of(learned, "read")
    .filter(({ found }) => found !== "none")
    .filter(({ path, found }) => found !== "folder" || !above.some((place) => isWithin(place, path)))
    .map(({ path }) => ofAnyProcess(path))
    .filter((path) => !isIn(path, free) && !isOwnProcess(path) && isWritable(path));
  const own = paths.filter((path) => !isIn(path, ground.systemRead));
  return [...(own.length < paths.length ? [SYSTEM_PATHS] : []), ...foldPaths(own)];
}

/** A process has another number the next time. */
const ofAnyProcess = (path: string): string => (/^\/proc\/\d+(\/|$)/.test(path) ? "/proc" : path);
const OWN_PROCESS = ["/proc/self", "/proc/thread-self", "/proc/net", "/proc/mounts"];
/** A worker has no terminal. */
const OWN_STREAMS = ["/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd", "/dev/tty"];
const isOwnProcess = (path: string): boolean => isIn(path, [...OWN_PROCESS, ...OWN_STREAMS]);

function written(learned: Learned): string[] {
  const own = [...learned.places.map(({ folder }) => folder), ...WRITABLE_DEVICES, ...OWN_STREAMS];
  const files = of(learned, "write").filter(({ found }) => found !== "none");
  const folders = of(learned, "change").map(({ path }) => dirname(path));
  const paths = [...files.map(({ path }) => path), ...folders];
  return foldPaths(
    paths.filter((path) => !isIn(path, own) && !path.startsWith("/proc/") && isWritable(path)),
  );
}

function programs(learned: Learned): string[] {
  const { places, ground } = learned;
  const started = new Map(
    of(learned, "exec")
      .filter(({ found, real }) => found === "file" && !places.some(({ program }) => program === real))
      .filter(({ path }) => isWritable(path))
      .map(({ path, real }) => [real, path]),
  );
  const [system, own] = [true, false].map((wanted) =>
    [...started].filter(([real]) => isIn(real, ground.systemExec) === wanted).map(([, path]) => path),
  ) as [string[], string[]];
  const named = system.length > FEW_PROGRAMS ? [SYSTEM_PATHS] : system.toSorted();
  return [...named, ...foldPaths(own)];
}

function endpoints(learned: Learned, what: "connect" | "udp"): string[] {
  const { ground, names } = learned;
  return unique(
    of(learned, what)
      .filter(({ host, port }) => port !== NAME_SERVER_PORT || !ground.nameServers.includes(host))
      .map(({ host, port }) => formatEndpoint({ host: names.get(host) ?? host, port })),
  );
}
