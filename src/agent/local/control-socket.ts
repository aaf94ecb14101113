import { chmodSync, existsSync, unlinkSync } from "node:fs";
import { HoldfastError } from "../../core/errors.ts";
import type { ControlPorts } from "./control-ports.ts";
import type { ControlServer } from "./control-routes.ts";

/** sun_path of unix(7) holds 108 bytes with its final zero. */
const MAX_SOCKET_PATH = 107;
const MAX_BODY_BYTES = 1024 * 1024;

/**
 * The local way in, for the command line: HTTP on `control.sock`, mode 0600, so that only the agent's user and root
 * reach it. Callers are recorded as `local:<uid>` (see `CALLER_HEADER`).
 */
export function startControlSocket(path: string, ports: ControlPorts): { stop(): Promise<void> } {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new HoldfastError(
      "invalid",
      `the path of the control socket is longer than ${MAX_SOCKET_PATH} bytes: ${path}; choose a shorter --home`,
    );
  }
  if (existsSync(path)) unlinkSync(path);
  let loading: Promise<ControlServer> | undefined;
  // What answers is loaded with the first request: most agents that are idle are never asked.
  const load = () =>
    (loading ??= import("./control-routes.ts").then(({ controlServer }) => controlServer(ports)));
  const before = process.umask(0o177);
  try {
    const server = Bun.serve({
      unix: path,
      maxRequestBodySize: MAX_BODY_BYTES,
      fetch: async (request) => await (await load()).answer(request),
    });
    chmodSync(path, 0o600);
    return {
      async stop() {
        (await loading)?.close();
        await server.stop(true);
        if (existsSync(path)) unlinkSync(path);
      },
    };
  } finally {
    process.umask(before);
  }
}
