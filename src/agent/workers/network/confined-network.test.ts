import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { SYSTEM_PATHS } from "../../../model/permissions.ts";
import { networkGrant, startNetworkWorker } from "../../../testing/network-worker.ts";
import { testCommand } from "../../../testing/stage-one-rig.ts";
import { LANDLOCK_PORTS } from "../sandbox/kernel-facts.ts";
import { probeKernel } from "../sandbox/probe.ts";

setDefaultTimeout(30_000);

const kernel = await probeKernel(testCommand());
let web: Bun.Server<undefined>;
beforeAll(() => {
  web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("hello") });
});
afterAll(() => web.stop(true));

/** A script in the whole sandbox, which asks for an allowed host, another, and the host's own loopback. */
async function run(facts: typeof kernel) {
  const script = `
curl -sS -m 9 http://api.test:${web.port}/; echo " $?"
curl -sS -m 9 https://other.test/ 2>/dev/null; [ $? -ne 0 ] && echo refused
curl -sS -m 9 --noproxy '*' http://127.0.0.1:${web.port}/ >/dev/null 2>&1 || echo refused`;
  const worker = await startNetworkWorker({
    grant: networkGrant({
      connect: [{ host: "api.test", port: web.port! }],
      read: [SYSTEM_PATHS],
      exec: [SYSTEM_PATHS],
    }),
    command: ["/bin/sh", "-c", script],
    kernel: facts,
    confined: true,
    broker: {
      resolve: async () => ["93.184.216.34"],
      dial: (_address, port) => connect({ host: "127.0.0.1", port, allowHalfOpen: true }),
    },
  });
  return { ...(await worker.ended), denied: worker.denied };
}

const expected = { out: "hello 0\nrefused\nrefused\n", err: "" };

test.skipIf(!kernel.netNamespace)("its own network, in the whole sandbox", async () => {
  const result = await run(kernel);
  expect(result).toMatchObject(expected);
  expect(result.denied).toEqual(["network other.test:443", `network 127.0.0.1:${web.port}`]);
});

test.skipIf(kernel.landlockAbi < LANDLOCK_PORTS)("the proxy's port as the only one", async () => {
  const result = await run({ ...kernel, netNamespace: false });
  expect(result).toMatchObject(expected);
  expect(result.denied).toEqual(["network other.test:443"]);
});
