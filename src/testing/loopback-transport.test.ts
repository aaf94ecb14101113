import { LoopbackHub } from "./loopback-transport.ts";
import { AGENT_ID, transportContract } from "./transport-contract.ts";

transportContract("loopback", async (sessions) => {
  const hub = new LoopbackHub(sessions);
  return {
    transport: hub.transport(AGENT_ID),
    cut: (agentId, reason) => hub.cut(agentId, reason),
    kill: () => hub.kill(),
    stop: async () => hub.kill(),
  };
});
