import { afterAll, beforeAll } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import { startByteProxy } from "../../testing/byte-proxy.ts";
import { certificatesFolder, removeFolder } from "../../testing/grpc-rig.ts";
import { joinMqttHub, type Mosquitto, startMosquitto, startMqttHub } from "../../testing/mqtt-rig.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { AGENT_ID, transportContract } from "../../testing/transport-contract.ts";
import { mqttTransport } from "./mqtt-transport.ts";

const clock = systemClock();
const ca = await createTestCa();
let certificates: string;
let mosquitto: Mosquitto;

beforeAll(async () => {
  certificates = await certificatesFolder(ca.certificate, await ca.agent(AGENT_ID));
  mosquitto = await startMosquitto();
});
afterAll(async () => {
  await mosquitto.stop();
  await removeFolder(certificates);
});

const transportTo = (url: string) =>
  mqttTransport({ url, certificates, clock, ids: systemIds(), log: silentLogger() });

transportContract("MQTT with the broker in the hub", async (sessions) => {
  const hub = await startMqttHub(ca, sessions);
  const proxy = await startByteProxy({ target: hub.port });
  return {
    transport: transportTo(`mqtts://127.0.0.1:${proxy.port}`),
    cut: hub.cut,
    kill: () => proxy.cut(),
    stop: async () => {
      await hub.server.drain();
      await proxy.stop();
    },
  };
});

transportContract("MQTT with Mosquitto", async (sessions) => {
  const hub = await joinMqttHub(ca, sessions, mosquitto.port);
  const proxy = await startByteProxy({ target: mosquitto.port });
  return {
    transport: transportTo(`mqtt://127.0.0.1:${proxy.port}`),
    cut: hub.cut,
    kill: () => proxy.cut(),
    stop: async () => {
      await hub.server.drain();
      await proxy.stop();
    },
  };
});
