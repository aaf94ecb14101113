/** An agent without a hub, made of a configuration and of the plugins in the share. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Role } from "../guests.ts";
import { freshFolder, giveTo, holdfast, type Running, start, until } from "./agents.ts";

const ID = "guest-01";

export interface GuestAgent {
  process: Running;
  home: string;
  /** `holdfast agent status --json`; throws while it does not run. */
  status(): Record<string, any>;
  /** Events of a type that its output has written so far. */
  events(type: string): Record<string, any>[];
  /** The end of a plugin's log. */
  pluginLog(name: string): string;
}

export interface GuestAgentOptions {
  executable: string;
  role: Role;
  name: string;
  plugins: string[];
  /** YAML of triggers, rules and pipelines. */
  config: string;
  policy?: string;
  /** Starts it again this many times after its end, in the same cgroup. */
  lives?: number;
}

/** Makes the agent's home without starting it. */
export function makeHome(options: Omit<GuestAgentOptions, "executable">): { base: string; root: string } {
  const { role, name, plugins, config, policy } = options;
  const base = freshFolder(role, name);
  const root = join(base, `agent-${ID}`);
  const place = (path: string, content: string) => {
    writeFileSync(path, content, { mode: 0o640 });
    giveTo(role, path);
  };
  for (const folder of ["", "config", "data", "data/plugins"]) {
    mkdirSync(join(root, folder), { mode: 0o750 });
    giveTo(role, join(root, folder));
  }
  place(join(root, "config/agent.yaml"), config);
  if (policy !== undefined) place(join(root, "config/policy.yaml"), policy);
  for (const plugin of plugins) {
    const path = join(root, "data/plugins", `${plugin}.ts`);
    copyFileSync(join("plugins", `${plugin}.ts`), path);
    giveTo(role, path);
  }
  return { base, root };
}

export async function startAgent(options: GuestAgentOptions): Promise<GuestAgent> {
  const { executable, role, name, lives = 1 } = options;
  const { base, root } = makeHome(options);
  const where = ["--home", base, "--id", ID];
  const once = [executable, "agent", "run", ...where, "--health-listen", "127.0.0.1:0", "--json"];
  const command =
    lives === 1 ? once : ["bash", "-c", `for life in {1..${lives}}; do "$@"; done`, "-", ...once];
  const process = await start(role, name, command);
  return {
    process,
    home: root,
    status() {
      const { code, out, err } = holdfast(executable, role === "unit" ? "user" : role, [
        ...["agent", "status", "--json"],
        ...where,
      ]);
      if (out === "") throw new Error(`agent status: ${code} ${err}`);
      return JSON.parse(out) as Record<string, any>;
    },
    events(type) {
      const file = join(root, "events.jsonl");
      if (!existsSync(file)) return [];
      const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
      return lines
        .map((line) => JSON.parse(line) as Record<string, any>)
        .filter((event) => event.type === type);
    },
    pluginLog(plugin) {
      const file = join(root, "logs/plugins", `${plugin}.log`);
      return existsSync(file) ? readFileSync(file, "utf8").slice(-4_000) : "";
    },
  };
}

/** The data of the first event of this type; where none comes, everything that is known about why. */
export async function firstEvent(
  agent: GuestAgent,
  type: string,
  plugin: string,
): Promise<Record<string, any>> {
  try {
    await until(`an event ${type}`, () => agent.events(type).length > 0);
  } catch (error) {
    const said = `${agent.process.said()}\n${agent.pluginLog(plugin)}\n${JSON.stringify(agent.status())}`;
    throw new Error(`${(error as Error).message}\n${said}`);
  }
  return agent.events(type)[0]!.data as Record<string, any>;
}
