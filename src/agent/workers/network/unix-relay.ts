/** Where a granted unix socket is found: by a name with the port of HTTP, in the worker's network or through its proxy. */
export interface UnixPlace {
  path: string;
  host: string;
}

export const UNIX_PORT = 80;

/**
 * Names for the granted unix sockets. A worker may make no unix sockets itself: the kernel cannot hold them to a path, and
 * one of the same user could reach the agent's own. `.internal` is never a name of the internet.
 */
export function unixPlaces(paths: string[]): UnixPlace[] {
  return paths.map((path, at) => ({ path, host: `unix-${at + 1}.holdfast.internal` }));
}

export function unixPathOf(places: UnixPlace[], host: string, port: number): string | undefined {
  return port === UNIX_PORT ? places.find((place) => place.host === host.toLowerCase())?.path : undefined;
}

/** `HOLDFAST_UNIX_1=unix-1.holdfast.internal:80`, in the order of the grant. */
export function unixEnvironment(places: UnixPlace[]): Record<string, string> {
  return Object.fromEntries(
    places.map(({ host }, at) => [`HOLDFAST_UNIX_${at + 1}`, `${host}:${UNIX_PORT}`]),
  );
}
