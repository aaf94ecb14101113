import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Clock } from "../core/clock.ts";
import { HoldfastError, systemCode } from "../core/errors.ts";
import type { Ids } from "../core/ids.ts";
import { type HubConfig, renderHubConfig } from "./config.ts";
import {
  homeError,
  hubHome,
  type HubHome,
  hubLayout,
  makeHubFolders,
  syncPath,
  writeDurably,
} from "./home.ts";
import { createCa, openCa } from "./enrollment/certificates.ts";
import { agentUrl, createJoinToken, DEFAULT_JOIN_TTL_MS, type JoinToken } from "./enrollment/join-tokens.ts";
import { writeReceiptKey } from "./receipt-key.ts";
import { ADMIN_PREFIX, hashToken, newToken } from "./enrollment/tokens.ts";

/** What making a hub asks of its new store. */
export interface NewStore {
  readonly hubId: string;
  addApiToken(token: { hash: string; name: string; role: "admin"; createdMs: number }): Promise<void>;
  addJoinToken(token: { hash: string; expiresMs: number; uses: number; createdMs: number }): Promise<void>;
  close(): Promise<void>;
}

export interface MakeHubOptions {
  /** The hub lives in `hub` under this folder. */
  base: string;
  config: Pick<HubConfig, "sync" | "api" | "health" | "names">;
  /** Port that agents reach; 0 when the hub takes a free one. */
  port: number;
  /** Gets the admin token (0600), which is then not returned. May lie inside the new hub. */
  tokenFile: string | undefined;
  openStore: (file: string) => Promise<NewStore>;
  clock: Clock;
  ids: Ids;
}

export interface MadeHub {
  home: HubHome;
  hubId: string;
  pin: string;
  /** Null when it went to the token file. */
  adminToken: string | null;
  join: JoinToken;
}

/**
 * Makes a hub's home beside its place and renames it there as the last step: interrupted anywhere it leaves no hub, and
 * a second one changes nothing. Throws `conflict` when there is a hub.
 */
export async function makeHub(options: MakeHubOptions): Promise<MadeHub> {
  const home = hubHome(options.base);
  refuseExisting(home);
  const staging = `${home.root}.new-${process.pid}`;
  const tokenFile = options.tokenFile === undefined ? undefined : resolve(options.tokenFile);
  const inside = tokenFile !== undefined && !relative(home.root, tokenFile).startsWith("..");
  const stagedToken = inside ? join(staging, relative(home.root, tokenFile)) : tokenFile;
  let claimed = false;
  try {
    mkdirSync(dirname(home.root), { recursive: true, mode: 0o750 });
    removeLeftovers(home.root);
    if (tokenFile !== undefined && !inside) claimTokenFile(tokenFile);
    claimed = true;
    const made = await fill(hubLayout(staging), options);
    if (stagedToken !== undefined) writeDurably(stagedToken, `${made.adminToken}\n`, 0o600);
    refuseExisting(home);
    for (const folder of readdirSync(staging)) syncPath(join(staging, folder));
    syncPath(staging);
    renameSync(staging, home.root);
    syncPath(dirname(home.root));
    return { ...made, home, adminToken: tokenFile === undefined ? made.adminToken : null };
  } catch (error) {
    if (existsSync(staging)) rmSync(staging, { recursive: true });
    if (claimed && tokenFile !== undefined && !inside) rmSync(tokenFile, { force: true });
    if (systemCode(error) === "ENOTEMPTY" || systemCode(error) === "EEXIST") throw exists(home);
    throw homeError("make the hub in", home.root, error);
  }
}

async function fill(home: HubHome, options: MakeHubOptions): Promise<Omit<MadeHub, "home">> {
  const { config, clock, ids } = options;
  makeHubFolders(home);
  writeDurably(home.configFile, renderHubConfig(config), 0o640);
  const nowMs = clock.trusted();
  const pair = await createCa(`Holdfast hub CA ${ids.hex(4)}`, nowMs, ids);
  const ca = await openCa(pair, ids);
  const server = await ca.server(config.names, nowMs);
  writeDurably(home.caKeyFile, pair.key, 0o600);
  writeDurably(home.caFile, pair.certificate, 0o644);
  writeDurably(home.serverKeyFile, server.key, 0o600);
  writeDurably(home.serverFile, server.certificate, 0o644);
  writeReceiptKey(home, await ca.receipts(nowMs));
  const store = await options.openStore(home.database);
  try {
    const adminToken = newToken(ADMIN_PREFIX, ids);
    await store.addApiToken({ hash: hashToken(adminToken), name: "admin", role: "admin", createdMs: nowMs });
    const url = agentUrl(config.names[0]!, options.port === 0 ? "PORT" : options.port);
    const join = await createJoinToken({ store, clock, ids, pin: ca.pin, url }, 1, DEFAULT_JOIN_TTL_MS);
    return { hubId: store.hubId, pin: ca.pin, adminToken, join };
  } finally {
    await store.close();
  }
}

function refuseExisting(home: HubHome): void {
  if (existsSync(home.root)) throw exists(home);
}

function exists(home: HubHome): HoldfastError {
  return new HoldfastError(
    "conflict",
    `A hub exists already in ${home.root}; nothing was changed. Start it with \`holdfast hub run\`, or make another ` +
      "one with --home DIR",
  );
}

/** An existing file may hold the token of another hub: it is not overwritten. */
function claimTokenFile(path: string): void {
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw homeError("write", path, error);
    throw new HoldfastError(
      "conflict",
      `The token file ${path} exists already and may hold another hub's token: move it away, or name another file`,
    );
  }
}

/** What inits that were killed left behind. */
function removeLeftovers(root: string): void {
  const prefix = `${basename(root)}.new-`;
  for (const name of readdirSync(dirname(root)).filter((entry) => entry.startsWith(prefix))) {
    const pid = Number(name.slice(prefix.length));
    if (pid === process.pid || !isAlive(pid))
      rmSync(join(dirname(root), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}
