import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { dlopen, ptr } from "bun:ffi";
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServiceClient } from "../agent/host-operations/service-client.ts";
import { readOperation } from "../agent/host-operations/verbs.ts";
import { systemClock } from "../core/clock.ts";
import type { HoldfastError } from "../core/errors.ts";
import { until } from "../testing/until.ts";

const clock = systemClock();
const BY = { plugin: "restarter", part: "restart" };
const MAIN = join(import.meta.dir, "../main.ts");
const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
const HOLDFAST = executable === undefined ? [process.execPath, "--no-install", MAIN] : [executable];
const root = process.getuid!() === 0;

let folder: string;
let place: { socket: string; allow: string; audit: string };
let count = 0;
const processes: Bun.Subprocess[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-service-"));
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  for (const child of processes.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

function allow(text: string): typeof place {
  const base = join(folder, `${++count}`);
  place = { socket: `${base}.sock`, allow: `${base}.yaml`, audit: `${base}.jsonl` };
  writeFileSync(place.allow, text, { mode: 0o644 });
  return place;
}

function start(prefix: string[] = [], stdio: unknown[] = []) {
  const { socket, allow: file, audit } = place;
  const command = [
    ...prefix,
    ...HOLDFAST,
    "host-service",
    "--socket",
    socket,
    "--allow",
    file,
    "--audit",
    audit,
  ];
  const child = Bun.spawn(command, {
    stdio: ["ignore", "pipe", "pipe", ...stdio] as unknown as ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin", LISTEN_FDS: "1" },
  });
  processes.push(child);
  return child;
}

async function refusal(text: string): Promise<{ said: string; code: number }> {
  allow(text);
  const child = start();
  return { said: await new Response(child.stderr).text(), code: await child.exited };
}

/** The file is there before anybody listens on it; its mode comes after. */
const listening = (socket: string) =>
  until("the service listens", () => existsSync(socket) && (statSync(socket).mode & 0o777) === 0o666, 10_000);

const me = process.getuid!();
const ask = (operation: string, given = {}) =>
  createServiceClient({ socket: place.socket, clock }).request(readOperation(operation, given), BY);
const failure = (work: Promise<unknown>) =>
  work.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: HoldfastError) => error,
  );
const auditLines = () =>
  readFileSync(place.audit, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("does what its list allows for whom it allows, writes it down, and ends well", async () => {
  const name = `hfserved-${process.pid}`;
  copyFileSync(existsSync("/usr/bin/sleep") ? "/usr/bin/sleep" : "/bin/sleep", join(folder, name));
  const { socket } = allow(`uids: [${me}]\noperations: ["signal:*", "systemd.restart:nginx"]\n`);
  // Its parent is not us: what we started is spared, because we are the one that asks.
  const shell = ["/bin/sh", "-c", `setsid -f ${join(folder, name)} 60`];
  await Bun.spawn(shell, { stdio: ["ignore", "ignore", "ignore"] }).exited;
  const child = start();
  await listening(socket);
  const { signalled } = (await ask(`signal:${name}`, { signal: "KILL" })) as { signalled: number[] };
  expect(signalled).toHaveLength(1);
  const denied = await failure(ask("systemd.restart:sshd"));
  expect(denied.code).toBe("denied");
  expect(denied.message).toStartWith("host service: denied: host systemd.restart:sshd.service");
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  expect(existsSync(socket)).toBe(false);
  const who = { ...BY, uid: me, pid: process.pid };
  expect(auditLines()).toEqual([
    expect.objectContaining({ ...who, operation: `signal:${name}`, phase: "started" }),
    expect.objectContaining({ ...who, operation: `signal:${name}`, phase: "ended", result: "done" }),
    expect.objectContaining({ ...who, operation: "systemd.restart:sshd.service", allowed: false }),
  ]);
});

test("the one that asks gets no signal, nor what it started", async () => {
  const name = `hfworker-${process.pid}`;
  copyFileSync(existsSync("/usr/bin/sleep") ? "/usr/bin/sleep" : "/bin/sleep", join(folder, name));
  const { socket } = allow(`uids: [${me}]\noperations: ["signal:*"]\n`);
  const worker = Bun.spawn([join(folder, name), "60"], { stdio: ["ignore", "ignore", "ignore"] });
  processes.push(worker);
  start();
  await listening(socket);
  expect((await failure(ask(`signal:${name}`, { signal: "KILL" }))).code).toBe("denied");
  expect(worker.exitCode ?? worker.signalCode).toBeNull();
});

test("another user is turned away and written down", async () => {
  const { socket } = allow('uids: [65533]\noperations: ["reboot"]\nsimulate: true\n');
  start();
  await listening(socket);
  expect((await failure(ask("reboot"))).message).toContain(`uid ${me} is not in the allow list`);
  await until(
    "it is in the audit",
    () => existsSync(place.audit) && readFileSync(place.audit, "utf8").endsWith("\n"),
  );
  expect(auditLines()[0]).toMatchObject({ uid: me, pid: process.pid, allowed: false });
});

test("simulates, for users by name", async () => {
  const { socket } = allow('users: [root]\noperations: ["reboot", "container.restart:*"]\nsimulate: true\n');
  if (!root) return;
  start();
  await listening(socket);
  const answer = await ask("reboot").catch((error: HoldfastError) => error.message);
  // A host without shutdown(8) says so, also in a simulation.
  if (typeof answer === "string") expect(answer).toContain("needs shutdown");
  else expect(answer).toMatchObject({ simulated: true, would: [expect.stringContaining("shutdown -r +1")] });
});

test("takes the socket that systemd has made", async () => {
  const { socket } = allow(`uids: [${me}]\noperations: ["signal:*"]\n`);
  const fd = listeningSocket(socket);
  // The shell keeps its pid when it becomes the service, as systemd's child does.
  const child = start(["/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh"], [fd]);
  closeSync(fd);
  expect((await failure(ask("signal:nobody-has-this", { signal: "HUP" }))).code).toBe("not_found");
  child.kill("SIGTERM");
  await child.exited;
  // It is systemd's: it stays.
  expect(existsSync(socket)).toBe(true);
});

describe("a list that is not in order stops it", () => {
  const bad: [what: string, text: string, said: RegExp][] = [
    [
      "a mistyped key",
      "uids: [1]\noperation: []\n",
      /\.yaml:2:1: operation: unknown key.*did you mean "operations"/,
    ],
    [
      "an unknown verb",
      'uids: [1]\noperations: ["systemd.restrat:a"]\n',
      /:2:14: .*did you mean systemd.restart\?/,
    ],
    [
      "a verb without its object",
      "uids: [1]\noperations: [systemd.restart]\n",
      /systemd.restart:\* for every one/,
    ],
    ["nobody", "operations: [reboot]\n", /at least one of uids and users/],
    ["a user that is not there", "users: [no-such-user]\noperations: []\n", /:1:9: .*no such user/],
    ["no YAML", "uids: [1\n", /not valid YAML/],
    ["nothing", "", /operations/],
    ["a uid that is none", "uids: [-1]\noperations: []\n", /at least 0/],
  ];
  test.each(bad)("%s", async (_what, text, message) => {
    const { said, code } = await refusal(text);
    expect(said).toMatch(message);
    expect(code).toBe(1);
    expect(existsSync(place.socket)).toBe(false);
  });

  test("one that others may write, or own", async () => {
    allow("uids: [1]\noperations: []\n");
    chmodSync(place.allow, 0o666);
    expect(await new Response(start().stderr).text()).toContain("may be written by others");
    chmodSync(place.allow, 0o644);
    if (!root) return;
    chownSync(place.allow, 65534, 65534);
    expect(await new Response(start().stderr).text()).toContain("belongs to uid 65534");
  });

  test("one that is not there", async () => {
    place = {
      socket: join(folder, "n.sock"),
      allow: join(folder, "none.yaml"),
      audit: join(folder, "n.jsonl"),
    };
    expect(await new Response(start().stderr).text()).toContain("there is no configuration file");
  });
});

/** As systemd makes it. */
function listeningSocket(path: string): number {
  const { symbols, close } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
  });
  const AF_UNIX = 1;
  const SOCK_STREAM_CLOEXEC = 0o2000001;
  const address = new Uint8Array(110);
  address[0] = AF_UNIX;
  address.set(Buffer.from(path), 2);
  const fd = symbols.socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0);
  expect(symbols.bind(fd, ptr(address), address.length)).toBe(0);
  expect(symbols.listen(fd, 5)).toBe(0);
  close();
  return fd;
}
