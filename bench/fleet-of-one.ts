/** An agent of the compiled executable, and a hub beside it, for benchmarks. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { type Program, runProgram, startProgram } from "./processes.ts";

export const AGENT_ID = "bench-01";

/** A free health port; nothing else of the caller's environment matters to an agent. */
export const AGENT_ENVIRONMENT = { HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0" };

export function agentCommand(executable: string, home: string): string[] {
  return [executable, "agent", "run", "--id", AGENT_ID, "--home", home, "--json"];
}

export interface HubBeside {
  program: Program;
  /** What `agent enroll` is told. */
  grpc: string;
  api: string;
  pin: string;
  tokenFile: string;
  executable: string;
}

/** Makes and starts a hub in `folder`. */
export async function startHubBeside(executable: string, folder: string): Promise<HubBeside> {
  const [grpc, api, health] = [await freePort(), await freePort(), await freePort()];
  const home = join(folder, "hub-home");
  const tokenFile = join(folder, "admin.token");
  const listen = ["--listen", loopback(grpc), "--api", loopback(api), "--health", loopback(health)];
  const init = [executable, "hub", "init", "--home", home, ...listen, "--name", "127.0.0.1"];
  const facts = JSON.parse(await runProgram([...init, "--token-file", tokenFile, "--json"])) as {
    pin: string;
  };
  const program = await startProgram([executable, "hub", "run", "--home", home, ...listen, "--json"]);
  return {
    program,
    grpc: `grpcs://${loopback(grpc)}`,
    api: `http://${loopback(api)}`,
    pin: facts.pin,
    tokenFile,
    executable,
  };
}

const loopback = (port: number) => `127.0.0.1:${port}`;

/** Enrolls the agent of `home` with the hub. */
export async function enrollAgent(executable: string, home: string, hub: HubBeside): Promise<void> {
  const create = ["token", "create", "--hub", hub.api, "--token-file", hub.tokenFile, "--json"];
  const { token } = JSON.parse(await runProgram([hub.executable, ...create])) as { token: string };
  const target = ["--home", home, "--id", AGENT_ID, "--hub", hub.grpc];
  await runProgram([executable, "agent", "enroll", ...target, "--token", token, "--ca-pin", hub.pin]);
}

/** Until the agent's stream to the hub is up. */
export async function waitForSync(agent: Program): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const health = (await (await fetch(`${agent.ready.health}/healthz`)).json()) as { sync?: string };
    if (health.sync === "online") return;
    if (performance.now() > deadline)
      throw new Error(`the agent did not reach the hub: ${JSON.stringify(health)}`);
    await Bun.sleep(50);
  }
}

/** What an administrator's token reads from the hub's REST API, such as `agents`. */
export async function getFromHub<T>(hub: HubBeside, path: string): Promise<T> {
  const token = (await readFile(hub.tokenFile, "utf8")).trim();
  const response = await fetch(`${hub.api}/api/v1/${path}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
