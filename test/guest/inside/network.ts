/** A plugin's `fetch`, and a script's curl, to a host that was granted and to one that was not. */
import { appendFileSync } from "node:fs";
import type { Role } from "../guests.ts";
import { run } from "./agents.ts";
import { expectSame, expectTrue } from "./checks.ts";
import { firstEvent, startAgent } from "./guest-agent.ts";

/** Addresses of the public internet, on this guest's loopback device: private ones are another rule's business. */
const SERVERS = { "granted.test": "44.0.0.1", "other.test": "44.0.0.2" } as const;
const PORT = 18_080;

export interface TestServers {
  /** Requests that came, by the server's name. */
  hits: Record<string, number>;
}

export function startServers(): TestServers {
  const hits: Record<string, number> = {};
  for (const [name, address] of Object.entries(SERVERS)) {
    run(["ip", "address", "add", `${address}/32`, "dev", "lo"]);
    appendFileSync("/etc/hosts", `${address} ${name}\n`);
    hits[name] = 0;
    Bun.serve({
      hostname: address,
      port: PORT,
      fetch() {
        hits[name]! += 1;
        return new Response(`this is ${name}`);
      },
    });
  }
  return { hits };
}

const configuration = (granted: string, other: string) => `agent: { id: guest-01 }
triggers:
  - name: probe
    plugin: net-probe
    with: { granted: "${granted}", other: "${other}" }
outputs:
  - { name: all, plugin: file, with: { path: events.jsonl } }
`;

export async function fetchIsBrokered(executable: string, role: Role, servers: TestServers): Promise<void> {
  const url = (name: keyof typeof SERVERS) => `http://${name}:${PORT}/`;
  servers.hits["other.test"] = 0;
  const agent = await startAgent({
    executable,
    role,
    name: "net",
    plugins: ["net-probe"],
    config: configuration(url("granted.test"), url("other.test")),
  });
  try {
    const answers = await firstEvent(agent, "net.answers", "net-probe");
    expectSame("the granted server's answer", answers.granted, "this is granted.test");
    expectTrue(`the other is not reached: ${answers.other}`, answers.other.startsWith("failed: "));
    expectSame("requests that came to the other server", servers.hits["other.test"], 0);
    const denied = `denied: network other.test:${PORT}`;
    const said = `${agent.pluginLog("net-probe")}${JSON.stringify(agent.status())}${agent.process.said()}`;
    expectTrue(
      `somewhere it says "${denied}":\n${answers.other}\n${said}`,
      `${answers.other}${said}`.includes(denied),
    );
  } finally {
    await agent.process.stop();
  }
}
