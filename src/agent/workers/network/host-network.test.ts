import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  kernelFacts,
  networkGrant,
  startNetworkWorker,
  testBroker,
} from "../../../testing/network-worker.ts";
import { openPolicy, testCommand } from "../../../testing/stage-one-rig.ts";
import { until } from "../../../testing/until.ts";
import { FrameChannel } from "../channel.ts";
import { isNetFrame } from "./net-frame.ts";
import { openWorkerNetwork } from "./worker-network.ts";

setDefaultTimeout(30_000);

const CONNECT = fileURLToPath(new URL("../../../sdk/connect.ts", import.meta.url));
let web: Bun.Server<undefined>;
let folder: string;

beforeAll(() => {
  web = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => new Response(`at ${new URL(request.url).host}`),
  });
  folder = mkdtempSync(join(tmpdir(), "holdfast-host-network-"));
});
afterAll(async () => {
  await web.stop(true);
  rmSync(folder, { recursive: true });
});

const internet = {
  resolve: async () => ["93.184.216.34"],
  dial: (_address: string, port: number) => dial({ host: "127.0.0.1", port, allowHalfOpen: true }),
};
const grant = () => networkGrant({ connect: [{ host: "api.test", port: web.port! }] });

/** Uses both ways of a plugin, and is refused in both. */
const TRY_ALL = () => `
  const lines = [];
  const put = (work) => work.then((line) => lines.push(line), (error) => lines.push(error.message));
  await put(fetch("http://api.test:${web.port}/").then((answer) => answer.text()));
  await put(connect({ host: "api.test", port: ${web.port} }).then(async (stream) => {
    stream.end("GET / HTTP/1.0\\r\\nHost: raw\\r\\n\\r\\n");
    let text = "";
    for await (const chunk of stream) text += chunk;
    return text.split("\\r\\n\\r\\n")[1];
  }));
  await put(connect({ host: "other.test", port: 443 }).then(() => "connected"));`;

test("a plugin host that may make no sockets at all", async () => {
  const file = join(folder, "plugin.ts");
  writeFileSync(
    file,
    `import { connect, defineAction, v } from "holdfast";
     export default defineAction({ name: "net", description: "", settings: v.object({}), effect: "read",
       async run() { ${TRY_ALL()} return lines; } });`,
  );
  const denied: string[] = [];
  const network = await openWorkerNetwork({
    grant: grant(),
    kernel: kernelFacts({ netNamespace: false, landlockAbi: 3 }),
    broker: testBroker(internet),
    folder,
    kind: "host",
    onDenied: (what) => denied.push(what),
  });
  expect(network).toMatchObject({ way: "sdk", launch: {}, awaitsSockets: false });
  const command = [...testCommand(), "__host"];
  const child = Bun.spawn([...testCommand(), "__launch"], {
    cwd: "/",
    env: { PATH: "/usr/bin:/bin", HOME: folder },
    stdio: ["ignore", "inherit", "inherit", "socket-fd"] as unknown as ["ignore", "inherit", "inherit"],
  });
  const frames: Record<string, unknown>[] = [];
  const channel = await FrameChannel.open((child.stdio as unknown as number[])[3]!, {
    frame: (frame) => {
      if (!isNetFrame(frame)) return void frames.push(frame as Record<string, unknown>);
      network.channel!.receive(frame, (down) => channel.send(JSON.stringify(down)));
    },
    closed: () => {},
  });
  const send = (frame: unknown) => channel.send(JSON.stringify(frame));
  const seccomp = {
    fork: false,
    fileModes: false,
    sockets: "none" as const,
    icmp: false,
    denyTruncate: false,
  };
  const policy = openPolicy(command, { cwd: folder, seccomp });
  policy.env = { ...policy.env, HOME: folder, ...network.env };
  send(policy);
  send({ kind: "load", entry: { file }, describe: false });
  await until("the plugin", () => frames.length > 0, 20_000);
  expect(frames[0]).toMatchObject({ kind: "ready" });
  const agent = { id: "a", labels: {}, home: folder };
  send({ kind: "call", id: 1, input: {}, key: "k", run: "r", step: "s", attempt: 1, timeoutMs: 5000, agent });
  await until(
    "its result",
    () => frames.some((frame) => frame.kind === "result" || frame.kind === "error"),
    20_000,
  );
  expect(frames.at(-1)).toEqual({
    kind: "result",
    id: 1,
    output: [`at api.test:${web.port}`, expect.stringMatching(/^at raw/), "denied: network other.test:443"],
  });
  expect(denied).toEqual(["network other.test:443"]);
  channel.close();
  await child.exited;
  await network.close();
});

test("a script has no such way", async () => {
  const kernel = kernelFacts({ netNamespace: false, landlockAbi: 3 });
  const options = { grant: grant(), kernel, broker: testBroker(internet), folder, onDenied: () => {} };
  const network = await openWorkerNetwork({ ...options, kind: "script" });
  expect(network).toMatchObject({ way: "sdk", launch: {}, env: {}, channel: null });
});

test.each([
  ["its own network", kernelFacts()],
  ["the proxy", kernelFacts({ netNamespace: false })],
])("the SDK's connect and fetch by %s", async (_way, kernel) => {
  const code = `import { connect } from ${JSON.stringify(CONNECT)}; ${TRY_ALL()} console.log(JSON.stringify(lines));`;
  const worker = await startNetworkWorker({
    grant: grant(),
    command: [process.execPath, "-e", code],
    kernel,
    broker: internet,
  });
  const { out, err } = await worker.ended;
  expect(err).toBe("");
  expect((JSON.parse(out) as string[]).slice(0, 2)).toEqual([
    `at api.test:${web.port}`,
    expect.stringMatching(/^at raw/) as unknown as string,
  ]);
  expect(worker.denied).toEqual(["network other.test:443"]);
});
