import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { silentLogger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
import { until } from "../../testing/until.ts";
import { openKernelCalls } from "../host-operations/kernel-calls.ts";
import { type HostService, type HostServicePorts, startHostService } from "./host-service.ts";
import { MAX_REQUEST_BYTES } from "./request-line.ts";

const clock = systemClock();
const kernel = openKernelCalls();
const me = process.getuid!();

let folder: string;
const services: HostService[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-service-"));
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
});

let sockets = 0;
async function start(ports: Partial<HostServicePorts> = {}): Promise<{ path: string; refused: string[] }> {
  const path = join(folder, `${++sockets}.sock`);
  const refused: string[] = [];
  const service = await startHostService(
    { path },
    {
      clock,
      log: silentLogger(),
      peerOf: (fd) => kernel.peerOf(fd),
      isAllowed: (uid) => uid === me,
      mayAsk: () => true,
      perform: async (request, peer) => ({ ...request, uid: peer.uid, pid: peer.pid }) as unknown as Json,
      refused: async (_peer, reason) => void refused.push(reason),
      ...ports,
    },
  );
  services.push(service);
  return { path, refused };
}

/** Everything that the service says until it closes, and whether it did. */
async function say(path: string, text: string | Uint8Array): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let heard = "";
  const socket = await Bun.connect({
    unix: path,
    socket: {
      data: (_socket, chunk) => void (heard += chunk.toString()),
      close: () => resolve(heard),
      error: () => resolve(heard),
    },
  });
  socket.write(text);
  return await promise;
}

/** The same from a process of another user. */
async function sayAs(uid: number, path: string, line: string): Promise<string> {
  const command = [
    "setpriv",
    `--reuid=${uid}`,
    `--regid=${uid}`,
    "--clear-groups",
    "curl",
    "-sS",
    "--max-time",
    "5",
  ];
  const url = ["--unix-socket", path, "-d", line, "telnet://localhost/"];
  const child = Bun.spawn([...command, ...url], { stdio: [Buffer.from(`${line}\n`), "pipe", "pipe"] });
  return await new Response(child.stdout).text();
}

const line = (operation: string) => JSON.stringify({ operation, by: { plugin: "p", part: "a" } });

test("one line there, one back, with who asks from the kernel", async () => {
  const { path } = await start();
  expect(JSON.parse(await say(path, `${line("reboot")}\n`))).toEqual({
    ok: true,
    result: { operation: "reboot", arguments: {}, by: { plugin: "p", part: "a" }, uid: me, pid: process.pid },
  });
  expect(statSync(path).mode & 0o777).toBe(0o666);
});

test("another user is refused, and an allowed one is not", async () => {
  if (me !== 0) return;
  const { path, refused } = await start({ isAllowed: (uid) => uid === 65534 });
  expect(JSON.parse(await sayAs(65534, path, line("reboot")))).toMatchObject({
    ok: true,
    result: { uid: 65534 },
  });
  expect(JSON.parse(await sayAs(12345, path, line("reboot")))).toEqual({
    ok: false,
    error: { code: "denied", message: "denied: uid 12345 is not in the allow list of this service" },
  });
  expect(JSON.parse(await say(path, `${line("reboot")}\n`))).toMatchObject({ ok: false });
  expect(refused).toHaveLength(2);
});

test("nobody whose credentials cannot be read", async () => {
  const { path, refused } = await start({ peerOf: () => null });
  expect(await say(path, `${line("reboot")}\n`)).toContain("the kernel does not tell who asks");
  expect(refused).toHaveLength(1);
});

test("beyond its rate a stranger gets no answer and no line", async () => {
  const { path, refused } = await start({ isAllowed: () => false, mayAsk: () => false });
  expect(await say(path, `${line("reboot")}\n`)).toBe("");
  expect(refused).toEqual([]);
});

describe("what is not a request", () => {
  const bad: [what: string, text: string | Uint8Array, message: string][] = [
    ["no JSON", "restart nginx\n", "is one line of JSON"],
    ["another shape", '{"op": 1}\n', "a request that is not one"],
    ["unknown keys", '{"operation": "reboot", "shell": "id"}\n', "shell"],
    ["bytes", new Uint8Array([0, 255, 254, 10]), "is one line of JSON"],
    ["too much", `${"x".repeat(MAX_REQUEST_BYTES + 10)}\n`, "a request may have"],
    ["too much without an end", "x".repeat(MAX_REQUEST_BYTES + 10), "a request may have"],
  ];
  test.each(bad)("%s", async (_what, text, message) => {
    const { path } = await start();
    const answer = JSON.parse(await say(path, text)) as { ok: boolean; error: { message: string } };
    expect(answer.ok).toBe(false);
    expect(answer.error.message).toContain(message);
  });

  test("silence: the connection is closed in its time", async () => {
    const hurried = { ...clock, after: (ms: number, call: () => void) => clock.after(ms / 200, call) };
    const { path } = await start({ clock: hurried });
    expect(await say(path, '{"operation"')).toBe("");
  });
});

test("a large answer arrives whole", async () => {
  const { path } = await start({ perform: async () => "x".repeat(4_000_000) });
  expect(
    (JSON.parse(await say(path, `${line("journal.read")}\n`)) as { result: string }).result,
  ).toHaveLength(4_000_000);
});

test("closing waits for what is under way", async () => {
  const done = Promise.withResolvers<Json>();
  let asked = false;
  const { path } = await start({ perform: () => ((asked = true), done.promise) });
  const answer = say(path, `${line("reboot")}\n`);
  await until("it is asked", () => asked);
  const closing = services.pop()!.close();
  done.resolve({ done: true });
  await closing;
  expect(JSON.parse(await answer)).toEqual({ ok: true, result: { done: true } });
});

test("a stale socket is replaced; a living one and other files are not", async () => {
  const { path } = await start();
  const ports = { clock, log: silentLogger() } as unknown as HostServicePorts;
  await expect(startHostService({ path }, ports)).rejects.toThrow(/is running on/);
  const file = join(folder, "file");
  writeFileSync(file, "precious");
  await expect(startHostService({ path: file }, ports)).rejects.toThrow(/is not a socket/);
  expect(readFileSync(file, "utf8")).toBe("precious");
});
