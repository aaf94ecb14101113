import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { type AuditLog, openAuditLog } from "./audit-log.ts";
import { createHostOperations, type HostOperationsOptions } from "./host-operations.ts";
import { openKernelCalls } from "./kernel-calls.ts";
import { createPerformer, type Performer } from "./perform.ts";
import type { Programs } from "./programs.ts";
import { RateLimit } from "./rate-limit.ts";
import { createServiceClient } from "./service-client.ts";

const clock = systemClock();
const BY = { plugin: "restarter", part: "restart", run: "run-1", step: "restart" };
const EVERYTHING = [
  "systemd.restart:*",
  "systemd.status:*",
  "systemd.stop:*",
  "journal.read",
  "packages.upgrade",
  "reboot",
];

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "holdfast-host-"))));
afterAll(() => rmSync(folder, { recursive: true }));

/** A program that notes its arguments and environment, then does as the script says. */
function program(name: string, script: string): string {
  const path = join(folder, name);
  const note = `{ printf '%s|' "$0" "$@"; echo; } >> ${folder}/calls; env > ${folder}/environment`;
  writeFileSync(path, `#!/bin/sh\n${note}\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

function programs(change: Partial<Programs> = {}): Programs {
  const none = { shutdown: null, dnf: null, zypper: null, docker: null, podman: null };
  return { ...none, systemctl: null, journalctl: null, "apt-get": null, ...change };
}

let auditFiles = 0;
const opened: AuditLog[] = [];
afterEach(async () => {
  for (const audit of opened.splice(0)) await audit.close();
});

function bench(change: Partial<HostOperationsOptions> & { table?: Programs; simulate?: boolean }) {
  const path = join(folder, `audit-${++auditFiles}.jsonl`);
  const audit = openAuditLog({ path, clock });
  opened.push(audit);
  const run: Performer = createPerformer({
    programs: change.table ?? programs(),
    kernel: openKernelCalls(),
    clock,
    protectedTrees: () => [],
    rights: () => true,
  });
  const policy = () => ({ host: { operations: EVERYTHING, simulate: change.simulate ?? false } });
  const room = createHostOperations({
    policy,
    run,
    service: null,
    audit,
    clock,
    log: silentLogger(),
    ...change,
  });
  const perform = (operation: string, given?: JsonObject, host = EVERYTHING): Promise<Json> =>
    room.perform({
      by: BY,
      grant: { host },
      operation,
      ...(given === undefined ? {} : { arguments: given }),
    });
  const lines = () =>
    readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { perform, lines, audit };
}

async function failure(work: Promise<unknown>): Promise<HoldfastError> {
  try {
    await work;
  } catch (error) {
    return error as HoldfastError;
  }
  throw new Error("it did not fail");
}

describe("done by the agent itself", () => {
  test("the program gets its words as they are, and nothing of our environment", async () => {
    process.env.HOLDFAST_TEST_SECRET = "x";
    const { perform } = bench({ table: programs({ systemctl: program("systemctl", "") }) });
    expect(await perform("systemd.restart:dev-disk\\x2duuid.swap")).toEqual({});
    delete process.env.HOLDFAST_TEST_SECRET;
    const called = `${folder}/systemctl|restart|--no-ask-password|--|dev-disk\\x2duuid.swap|`;
    expect(readFileSync(join(folder, "calls"), "utf8")).toContain(called);
    const environment = readFileSync(join(folder, "environment"), "utf8");
    expect(environment).not.toContain("HOLDFAST_TEST_SECRET");
    expect(environment).toContain("PATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
  });

  test("it is in the audit before it is done, and after", async () => {
    const path = join(folder, "seen");
    const script = `tail -n 1 "$(ls -t ${folder}/audit-*.jsonl | head -n 1)" > ${path}`;
    const { perform, lines } = bench({ table: programs({ systemctl: program("auditing", script) }) });
    await perform("systemd.restart:nginx");
    const asked = { ...BY, operation: "systemd.restart:nginx.service", allowed: true, simulated: false };
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ ...asked, phase: "started" });
    expect(lines()).toEqual([
      expect.objectContaining({ ...asked, phase: "started", through: "itself" }),
      expect.objectContaining({ ...asked, phase: "ended", result: "done", duration_ms: expect.any(Number) }),
    ]);
  });

  test("the state of a unit and lines of the journal come as JSON", async () => {
    const state =
      "printf 'Id=nginx.service\\nActiveState=active\\nMainPID=42\\nExecMainStatus=0\\nDescription=a=b\\n'";
    const entry = {
      __REALTIME_TIMESTAMP: "1700000000000000",
      PRIORITY: "3",
      _PID: "7",
      SYSLOG_IDENTIFIER: "x",
    };
    const journal = [
      JSON.stringify({ ...entry, MESSAGE: "text", _SYSTEMD_UNIT: "a.service" }),
      JSON.stringify({ ...entry, MESSAGE: [104, 105, 255] }),
      '{"MESSAGE": "cut of',
    ].join("\n");
    writeFileSync(join(folder, "journal"), journal);
    const table = programs({
      systemctl: program("show", state),
      journalctl: program("journalctl", `cat ${folder}/journal`),
    });
    const { perform } = bench({ table });
    expect(await perform("systemd.status:nginx")).toEqual({
      id: "nginx.service",
      active_state: "active",
      main_pid: 42,
      exec_main_status: 0,
      description: "a=b",
    });
    const line = { time: "2023-11-14T22:13:20.000Z", priority: 3, identifier: "x", pid: 7 };
    expect(await perform("journal.read")).toEqual({
      entries: [
        { ...line, message: "text", unit: "a.service" },
        { ...line, message: "hi\ufffd", unit: null },
      ],
    });
  });

  test("a failure is told with what the program said, and audited", async () => {
    const systemctl = program("failing", "echo out; echo 'Unit nginx.service not found.' >&2; exit 5");
    const { perform, lines } = bench({ table: programs({ systemctl }) });
    const error = await failure(perform("systemd.restart:nginx"));
    expect(error).toMatchObject({ code: "failed" });
    expect(error.message).toContain("restart ended with 5: Unit nginx.service not found.");
    expect(lines()[1]).toMatchObject({ phase: "ended", result: "failed", error: error.message });
  });

  test("output without end is cut, also when a daemon keeps the pipe", async () => {
    const journalctl = program(
      "endless",
      "(exec sleep 30) & head -c 3000000 /dev/zero | tr '\\0' 'x'; echo $! > \"$0.pid\"",
    );
    const { perform } = bench({ table: programs({ journalctl }) });
    expect(await perform("journal.read")).toEqual({ entries: [], cut: true });
    process.kill(Number(readFileSync(`${journalctl}.pid`, "utf8")), "SIGKILL");
  });

  test("what takes too long is ended with all that it started", async () => {
    const systemctl = program("slow", `sh -c 'echo $$ > "${folder}/slow.pid"; exec sleep 60' & wait`);
    const hurried = {
      ...clock,
      mono: () => clock.mono(),
      after: (ms: number, call: () => void) => clock.after(ms / 100, call),
    };
    const performer = createPerformer({
      programs: programs({ systemctl }),
      kernel: openKernelCalls(),
      clock: hurried,
      protectedTrees: () => [],
      rights: () => true,
    });
    const error = await failure(bench({ run: performer }).perform("systemd.restart:nginx"));
    expect(error.code).toBe("timed_out");
    const pid = Number(readFileSync(join(folder, "slow.pid"), "utf8"));
    expect(
      existsSync(`/proc/${pid}/status`) && !/State:\s+Z/.test(readFileSync(`/proc/${pid}/status`, "utf8")),
    ).toBe(false);
  });

  test("lists are fetched, then the package is upgraded", async () => {
    rmSync(join(folder, "calls"), { force: true });
    const { perform } = bench({ table: programs({ "apt-get": program("apt-get", "") }) });
    await perform("packages.upgrade:curl");
    const calls = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
    expect(calls[0]).toBe(`${folder}/apt-get|--quiet|update|`);
    expect(calls[1]).toEndWith("|install|--only-upgrade|--|curl|");
  });
});

describe("not done", () => {
  const untouchable = { table: programs({ systemctl: "/nonexistent/systemctl" }) };

  test("without the grant: the reason, and one line in the audit", async () => {
    const { perform, lines } = bench(untouchable);
    const error = await failure(perform("systemd.restart:sshd", {}, ["systemd.restart:nginx"]));
    expect(error).toMatchObject({ code: "denied" });
    expect(error.message).toStartWith("denied: host systemd.restart:sshd.service");
    expect(lines()).toEqual([expect.objectContaining({ ...BY, allowed: false, reason: error.message })]);
  });

  test("a name that is none, with its long rubbish cut in the audit", async () => {
    const { perform, lines } = bench(untouchable);
    const error = await failure(
      perform(`systemd.restart:nginx; rm -rf /${"x".repeat(9000)}`, { a: "y".repeat(9000) }),
    );
    expect(error).toMatchObject({ code: "invalid" });
    expect(JSON.stringify(lines()[0]).length).toBeLessThan(3500);
    expect(lines()).toHaveLength(1);
  });

  test("in simulation: says what it would do", async () => {
    const { perform, lines } = bench({ ...untouchable, simulate: true });
    const would = ["/nonexistent/systemctl restart --no-ask-password -- nginx.service"];
    expect(await perform("systemd.restart:nginx")).toEqual({ simulated: true, would });
    expect(lines()).toEqual([expect.objectContaining({ allowed: true, simulated: true, would })]);
  });

  test("when it cannot be written down first", async () => {
    rmSync(join(folder, "calls"), { force: true });
    const full = {
      record: () => Promise.reject(new HoldfastError("failed", "disk full")),
      close: async () => {},
    };
    const { perform } = bench({ audit: full, table: programs({ systemctl: program("unaudited", "") }) });
    expect((await failure(perform("systemd.restart:nginx"))).message).toBe("disk full");
    expect(existsSync(join(folder, "calls"))).toBe(false);
  });

  test("beyond its rate, and without filling the audit", async () => {
    const { perform, lines } = bench({ limit: new RateLimit(clock, 3, 0.001) });
    const errors = await Promise.all(Array.from({ length: 50 }, () => failure(perform("reboot", {}, []))));
    expect(errors.filter((error) => error.code === "exhausted")).toHaveLength(47);
    expect(lines()).toHaveLength(3);
  });

  test("when neither we nor a service may", async () => {
    const run: Performer = {
      may: () => false,
      describe: () => [],
      perform: () => Promise.reject(new Error("no")),
    };
    expect((await failure(bench({ run }).perform("reboot"))).code).toBe("denied");
    const service = createServiceClient({ socket: join(folder, "none.sock"), clock });
    const error = await failure(bench({ run, service }).perform("reboot"));
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain("holdfast-host.socket");
  });
});

test("an audit log on a full disk says so", async () => {
  if (!existsSync("/dev/full")) return;
  const audit = openAuditLog({ path: "/dev/full", clock });
  expect((await failure(audit.record({ a: 1 }))).message).toContain("cannot be written");
  await audit.close();
});
