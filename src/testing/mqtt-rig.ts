import { createServer } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import type { AgentStream } from "../hub/sync/agent-stream.ts";
import { LiveAgents } from "../hub/sync/live-agents.ts";
import { startBroker } from "../hub/sync/mqtt-broker.ts";
import { joinBroker } from "../hub/sync/mqtt-outside.ts";
import { MqttServer, type MqttServerOptions } from "../hub/sync/mqtt-server.ts";
import type { SyncSessions } from "../hub/sync/sessions.ts";
import type { PemPair, TestCa } from "./test-ca.ts";
import { until } from "./until.ts";

export interface MqttHub {
  server: MqttServer;
  live: LiveAgents<AgentStream>;
  /** Of the broker. */
  port: number;
  cut(agentId: string, reason: string): void;
}

/** A hub's MQTT side with the broker inside it. */
export async function startMqttHub(
  ca: TestCa,
  sessions: SyncSessions,
  options: Partial<MqttServerOptions> = {},
): Promise<MqttHub> {
  const { server, live, tls } = await mqttServer(ca, sessions, options);
  const broker = await startBroker({
    listen: { host: "127.0.0.1", port: 0 },
    tls,
    clock: systemClock(),
    log: options.log ?? silentLogger(),
    onMessage: (topic, payload) => server.take(topic, payload),
  });
  server.use(broker);
  return { server, live, port: broker.port, cut: cutOf(live) };
}

/** The same with a broker that runs already; over TLS where the hub has something to show. */
export async function joinMqttHub(
  ca: TestCa,
  sessions: SyncSessions,
  port: number,
  options: Partial<MqttServerOptions> & { hubId?: string; identity?: PemPair } = {},
): Promise<MqttHub> {
  const { server, live } = await mqttServer(ca, sessions, options);
  const bus = await joinBroker({
    url: `${options.identity ? "mqtts" : "mqtt"}://127.0.0.1:${port}`,
    identity: options.identity,
    hubId: options.hubId ?? "hub-under-test",
    ca: ca.certificate,
    log: silentLogger(),
    onMessage: (topic, payload) => server.take(topic, payload),
  });
  server.use(bus);
  return { server, live, port, cut: cutOf(live) };
}

async function mqttServer(ca: TestCa, sessions: SyncSessions, options: Partial<MqttServerOptions>) {
  const pair = await ca.server(["localhost", "127.0.0.1"]);
  const tls = { certificate: `${pair.certificate}\n${ca.certificate}\n`, key: pair.key, ca: ca.certificate };
  const live = options.live ?? new LiveAgents<AgentStream>();
  const server = new MqttServer({
    tls,
    sessions,
    live,
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    ...options,
  });
  return { server, live, tls };
}

function cutOf(live: LiveAgents<AgentStream>) {
  return (agentId: string, reason: string) =>
    live.get(agentId)?.end(new HoldfastError("unauthenticated", reason));
}

export interface Mosquitto {
  port: number;
  stop(): Promise<void>;
}

/** A private Mosquitto (Debian's) on a free port, plain TCP, anybody may connect. */
export async function startMosquitto(lines: string[] = [], at?: number): Promise<Mosquitto> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-mosquitto-"));
  const port = at ?? (await freePort());
  const config = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "persistence false",
    "set_tcp_nodelay true",
    "max_queued_messages 0",
    ...(process.getuid?.() === 0 ? ["user root"] : []),
    ...lines,
  ];
  await writeFile(join(folder, "mosquitto.conf"), `${config.join("\n")}\n`);
  const child = Bun.spawn(["/usr/sbin/mosquitto", "-c", join(folder, "mosquitto.conf")], {
    stdout: "ignore",
    stderr: "ignore",
  });
  let listening = false;
  const probe = async () => {
    while (!listening && child.exitCode === null) {
      listening = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }).then(
        (socket) => (socket.end(), true),
        () => false,
      );
      if (!listening) await Bun.sleep(20);
    }
  };
  void probe();
  await until("Mosquitto listens", () => listening || child.exitCode !== null, 10_000);
  if (!listening) throw new Error(`Mosquitto ended with ${child.exitCode}`);
  return {
    port,
    stop: async () => {
      child.kill();
      await child.exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
