import { accessSync, chmodSync, constants, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { AGENT_ID } from "../../model/agent-id.ts";

/** Every path of an agent's home (DESIGN section 3), absolute. */
export type AgentHome = ReturnType<typeof agentHome>;

/** The layout of agent `id` under `base`; touches nothing. Throws `invalid` for a bad id. */
export function agentHome(base: string, id: string) {
  checkAgentId(id);
  const root = join(resolve(base), `agent-${id}`);
  const config = join(root, "config");
  const certificates = join(config, "certificates");
  const data = join(root, "data");
  const state = join(data, "state");
  const logs = join(root, "logs");
  return {
    id,
    base: resolve(base),
    root,
    config,
    configFile: join(config, "agent.yaml"),
    confDir: join(config, "conf.d"),
    policyFile: join(config, "policy.yaml"),
    pluginSettings: join(config, "plugins"),
    secretsKey: join(config, "secrets.key"),
    secretsSalt: join(config, "secrets.salt"),
    certificates,
    keyFile: join(certificates, "agent.key"),
    certificateFile: join(certificates, "agent.crt"),
    caFile: join(certificates, "ca.crt"),
    data,
    plugins: join(data, "plugins"),
    cache: join(data, "cache"),
    state,
    database: join(state, "agent.db"),
    lockFile: join(state, "agent.lock"),
    logs,
    logFile: join(logs, "agent.log"),
    pluginLogs: join(logs, "plugins"),
    auditLogs: join(logs, "audit"),
    workdir: join(root, "tmp", "workdir"),
    controlSocket: join(root, "control.sock"),
  };
}

/** Ids become file, certificate and topic names: nothing else may pass. */
export function checkAgentId(id: string): void {
  if (AGENT_ID.test(id)) return;
  throw new HoldfastError(
    "invalid",
    `"${id.slice(0, 80)}" is not an agent id: 3 to 64 letters, digits, _ and -, starting with a letter or digit`,
  );
}

/** Where homes lie when nobody says: `/var/lib/holdfast` for root, else `$XDG_STATE_HOME/holdfast`. */
export function defaultBase(env: Record<string, string | undefined>, uid: number | undefined): string {
  if (uid === 0) return "/var/lib/holdfast";
  // The XDG specification says that a relative path is to be ignored.
  if (env.XDG_STATE_HOME?.startsWith("/")) return join(env.XDG_STATE_HOME, "holdfast");
  if (env.HOME) return join(env.HOME, ".local", "state", "holdfast");
  throw new HoldfastError("usage", "neither XDG_STATE_HOME nor HOME is set: say where with --home DIR");
}

/** Ids of the agents that have a home under `base`, sorted. */
export function agentIds(base: string): string[] {
  try {
    return readdirSync(base, { withFileTypes: true })
      .filter((entry) => entry.name.startsWith("agent-") && !entry.isFile())
      .map((entry) => entry.name.slice("agent-".length))
      .filter((id) => AGENT_ID.test(id))
      .sort();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw homeError("read", base, error);
  }
}

/**
 * Makes the tree, or what is missing of it, with safe modes; content that is there stays untouched. Modes of folders
 * that exist are left to their owner, but what holds secrets is closed to others again. Throws a HoldfastError that
 * names the path, why and what to do.
 */
export function prepareHome(home: AgentHome): void {
  const shared = [
    home.root,
    home.config,
    home.confDir,
    home.data,
    home.plugins,
    home.cache,
    home.state,
    home.logs,
    home.pluginLogs,
    home.auditLogs,
    join(home.root, "tmp"),
    home.workdir,
  ];
  makeBase(home.base);
  for (const folder of shared) makeFolder(folder, 0o750);
  for (const folder of [home.certificates, home.pluginSettings]) {
    makeFolder(folder, 0o700);
    close(folder, 0o700);
  }
  for (const name of readdirSync(home.certificates)) {
    if (name.endsWith(".key")) close(join(home.certificates, name), 0o600);
  }
}

/** Writes a first `agent.yaml` (mode 0640) unless there is one. True when it was written. */
export function placeStarterConfig(home: AgentHome): boolean {
  const text = `# Configuration of agent ${home.id}. Files in conf.d/*.yaml merge over it.
# Check it with: holdfast config validate --home ${home.base} --id ${home.id}
agent:
  id: ${home.id}
`;
  try {
    writeFileSync(home.configFile, text, { mode: 0o640, flag: "wx" });
    chmodSync(home.configFile, 0o640);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw homeError("write", home.configFile, error);
  }
}

/** The base may be shared with others: it is made, never changed. */
function makeBase(base: string): void {
  try {
    if (mkdirSync(base, { recursive: true, mode: 0o750 }) !== undefined) chmodSync(base, 0o750);
  } catch (error) {
    throw homeError("make", base, error);
  }
}

function makeFolder(path: string, mode: number): void {
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) {
      mkdirSync(path, { mode });
      // mkdir's mode is cut by the umask.
      chmodSync(path, mode);
      return;
    }
  } catch (error) {
    throw homeError("make", path, error);
  }
  if (!statSync(path).isDirectory()) {
    throw new HoldfastError(
      "failed",
      `cannot use the folder ${path}: something that is not a folder is in the way; move it away or choose another --home`,
    );
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw homeError("use", path, error);
  }
}

/** Takes rights away from others; never adds any. */
function close(path: string, mode: number): void {
  const now = statSync(path).mode & 0o777;
  if ((now & ~mode) === 0) return;
  try {
    chmodSync(path, now & mode);
  } catch (error) {
    throw homeError("protect", path, error);
  }
}

const CAUSES: Record<string, string> = {
  EACCES: "this user may not; give it the folder (chown) or choose another --home",
  EPERM: "this user may not; give it the folder (chown) or choose another --home",
  EROFS: "the file system is read-only; choose another --home",
  ENOSPC: "the disk is full; make room or choose another --home",
  ENOTDIR: "a file is in the way; move it away or choose another --home",
  EEXIST: "a file is in the way; move it away or choose another --home",
  ENAMETOOLONG: "the path is too long; choose a shorter --home",
  ELOOP: "a symbolic link leads in a circle; choose another --home",
  ENOENT: "no folder can be made there; choose another --home",
};

function homeError(verb: string, path: string, error: unknown): HoldfastError {
  const code = systemCode(error);
  const why = CAUSES[code ?? ""] ?? `${messageOf(error)}; choose another --home`;
  return new HoldfastError(
    code === "EACCES" || code === "EPERM" ? "denied" : "failed",
    `cannot ${verb} ${path}: ${why}`,
    {
      cause: error,
    },
  );
}
