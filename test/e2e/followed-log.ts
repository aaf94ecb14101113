/** A hub that runs and an agent that is enrolled with it and follows a log: what tests of the way between them begin with. */
import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, type Holdfast, runHoldfast, startHoldfast } from "./harness.ts";

export interface FollowedLog {
  hubHome: string;
  home: string;
  /** The file that the trigger `app` follows from its start. */
  log: string;
  hub: Holdfast;
  hubArgs: string[];
  /** How commands reach the hub's API. */
  api: string[];
}

/** Runs a command that must succeed; gives what it printed. */
export async function succeeds(executable: string, args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runHoldfast(executable, args);
  expect([args.join(" "), exitCode, stderr]).toEqual([args.join(" "), 0, expect.any(String)]);
  return stdout;
}

/** Makes both under `base`; the agent is not started. `settings` are YAML beside the trigger. */
export async function followLog(
  executable: string,
  base: string,
  id: string,
  settings = "",
): Promise<FollowedLog> {
  const [hubHome, home] = [join(base, "hub-home"), join(base, "agent")];
  const [grpc, apiPort, health] = await Promise.all([freePort(), freePort(), freePort()]);
  const tokenFile = join(base, "admin.token");
  const listen = ["--listen", `127.0.0.1:${grpc}`, "--api", `127.0.0.1:${apiPort}`];
  const where = ["--home", hubHome, ...listen, "--health", `127.0.0.1:${health}`, "--json"];
  const named = ["--name", "127.0.0.1", "--token-file", tokenFile];
  const init = await succeeds(executable, ["hub", "init", ...where, ...named]);
  const { pin, join: invitation } = JSON.parse(init) as { pin: string; join: { token: string } };
  const hubArgs = ["hub", "run", ...where];
  const hub = await startHoldfast(executable, hubArgs);
  const who = ["--home", home, "--id", id, "--hub", `grpcs://127.0.0.1:${grpc}`];
  await succeeds(executable, ["agent", "enroll", ...who, "--token", invitation.token, "--ca-pin", pin]);
  const root = join(home, `agent-${id}`);
  const log = join(root, "app.log");
  writeFileSync(log, "");
  mkdirSync(join(root, "config/conf.d"), { recursive: true });
  const triggers = "triggers:\n  - { name: app, plugin: file-tail, with: { path: app.log, from: start } }\n";
  writeFileSync(join(root, "config/conf.d/test.yaml"), triggers + settings);
  const api = ["--hub", `http://127.0.0.1:${apiPort}`, "--token-file", tokenFile];
  return { hubHome, home, log, hub, hubArgs, api };
}
