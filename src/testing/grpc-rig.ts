import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { silentLogger } from "../core/logger.ts";
import { startSyncServer, type SyncServer, type SyncServerOptions } from "../hub/sync/grpc-server.ts";
import type { SyncSessions } from "../hub/sync/sessions.ts";
import type { PemPair, TestCa } from "./test-ca.ts";

/** A real sync server with a test CA. */
export async function startTestServer(
  ca: TestCa,
  sessions: SyncSessions,
  options: Partial<SyncServerOptions> & { names?: string[] } = {},
): Promise<SyncServer> {
  const pair = await ca.server(options.names ?? ["localhost", "127.0.0.1"]);
  return await startSyncServer({
    listen: { host: "127.0.0.1", port: 0 },
    tls: { certificate: `${pair.certificate}\n${ca.certificate}\n`, key: pair.key, ca: ca.certificate },
    sessions,
    log: silentLogger(),
    clock: systemClock(),
    ...options,
  });
}

/** A folder as enrollment leaves it. */
export async function certificatesFolder(ca: string, pair: PemPair): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-certificates-"));
  await Promise.all([
    writeFile(join(folder, "ca.crt"), ca),
    writeFile(join(folder, "agent.crt"), pair.certificate),
    writeFile(join(folder, "agent.key"), pair.key, { mode: 0o600 }),
  ]);
  return folder;
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
