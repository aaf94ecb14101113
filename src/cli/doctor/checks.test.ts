/** The doctor's checks, each on a host or home that has what it is to find. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type Server } from "node:tls";
import * as v from "valibot";
import { type AgentHome, agentHome, prepareHome } from "../../agent/config/home.ts";
import { loadPolicy } from "../../agent/config/policy.ts";
import type { KernelFacts } from "../../agent/workers/sandbox/kernel-facts.ts";
import { systemClock } from "../../core/clock.ts";
import { configSchema } from "../../model/config.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { clockCheck } from "./clock-check.ts";
import { everydayGaps } from "./everyday.ts";
import { diskCheck, homeCheck, mayReplace } from "./home-checks.ts";
import { hubCheck } from "./hub-check.ts";
import { policyCheck } from "./policy-check.ts";
import { programCheck } from "./program-check.ts";

const IS_ROOT = process.getuid?.() === 0;

let base: string;
let home: AgentHome;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
  home = agentHome(base, "web-01");
  prepareHome(home);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

describe("home", () => {
  test("as prepareHome makes it, it is fine", () => {
    expect(homeCheck(home)).toMatchObject({ state: "ok" });
  });

  test("what others may write or look into is named, with the command that closes it", () => {
    writeFileSync(home.keyFile, "key");
    chmodSync(home.keyFile, 0o644);
    chmodSync(home.plugins, 0o777);
    const { state, detail, fix } = homeCheck(home);
    expect(state).toBe("failed");
    expect(detail).toContain(`everybody may write ${home.plugins} (mode 777)`);
    expect(detail).toContain(`everybody may look into ${home.keyFile} (mode 644)`);
    expect(fix).toContain(`chmod go-w ${home.plugins}`);
    expect(fix).toContain(`chmod go= ${home.keyFile}`);
  });

  test.skipIf(!IS_ROOT)("what belongs to somebody else is named", () => {
    chownSync(home.state, 65534, 65534);
    expect(homeCheck(home)).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("belongs to uid 65534"),
    });
  });

  test("free disk", () => {
    expect(diskCheck(base)).toMatchObject({ name: "disk", detail: expect.stringContaining("MB (") });
    expect(diskCheck(join(base, "nothing"))).toMatchObject({ state: "note" });
  });
});

describe("policy", () => {
  test("who may replace a file: its owner, and who may write to a folder above it", () => {
    const file = join(home.config, "policy.yaml");
    writeFileSync(file, "");
    const me = process.getuid!();
    expect(mayReplace(file, me)).toBe(true);
    expect(mayReplace("/etc/passwd", 65534)).toBe(false);
    expect(mayReplace("/etc/holdfast/web-01/policy.yaml", 65534)).toBe(false);
    // /tmp is open to all, but sticky.
    if (me !== 65534) expect(mayReplace(file, 65534)).toBe(false);
    chmodSync(home.config, 0o757);
    if (me !== 65534) expect(mayReplace(file, 65534)).toBe(true);
  });

  test("none, a switched off sandbox, and a broken one", async () => {
    const found = async (text: string | null) => {
      if (text !== null) writeFileSync(home.policyFile, text);
      return policyCheck(await loadPolicy([home.policyFile]), home);
    };
    expect(await found(null)).toMatchObject({ detail: expect.stringContaining("no policy file") });
    const off = await found("plugins: { grants: [{ plugins: [legacy-*], sandbox: off }] }\n");
    expect(off).toMatchObject({
      state: "note",
      detail: expect.stringContaining("sandbox: off for legacy-*"),
    });
    expect(await found("sandbox: off\n")).toMatchObject({
      state: "note",
      detail: expect.stringContaining("off for every plugin"),
    });
    expect(await found("sandbx: off\n")).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("no plugin may start"),
    });
  });
});

describe("clock", () => {
  const clock = systemClock();
  test("now is fine; before the build and before the agent's own files it is not", () => {
    expect(clockCheck(clock, home)).toMatchObject({ state: "ok" });
    const old = { ...systemClock(), wall: () => Date.UTC(2020, 1, 1), trusted: () => clock.trusted() };
    expect(clockCheck(old, null)).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("built"),
    });
    writeFileSync(home.database, "");
    const later = new Date(clock.wall() + 3_600_000);
    utimesSync(home.database, later, later);
    expect(clockCheck(clock, home)).toMatchObject({
      state: "failed",
      detail: expect.stringContaining(later.toISOString()),
    });
  });
});

describe("programs", () => {
  const config = (command: unknown, action = "exec") =>
    v.parse(configSchema, { pipelines: { p: { steps: [{ id: "s", action, with: { command } }] } } });
  const check = (command: unknown) => programCheck(config(command), home, "/usr/bin:/bin");

  test("found in PATH, in the home, and by its path", () => {
    const script = join(home.root, "react.sh");
    writeFileSync(script, "#!/bin/sh\n", { mode: 0o755 });
    expect(check("sh")).toMatchObject({ state: "ok", detail: "sh: there" });
    expect(check(["react.sh", "x"])).toMatchObject({ state: "ok" });
    expect(check(script)).toMatchObject({ state: "ok" });
    expect(check("${{ event.data.x }}")).toMatchObject({
      detail: "no step needs one; 1 are known only when the step runs",
    });
  });

  test("absent, not executable, without its interpreter", () => {
    expect(check("no-such-program")).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("pipeline p, step s: no-such-program is not there"),
    });
    const script = join(home.root, "bad.sh");
    writeFileSync(script, "#!/usr/bin/no-such-shell\n", { mode: 0o644 });
    chmodSync(script, 0o644);
    expect(check("bad.sh").detail).toContain("bad.sh is not executable");
    chmodSync(script, 0o755);
    expect(check("bad.sh").detail).toContain("needs /usr/bin/no-such-shell, which is not there");
  });
});

describe("hub", () => {
  const clock = systemClock();
  const place = async (ca: Awaited<ReturnType<typeof createTestCa>>, validity = {}) => {
    const agent = await ca.agent("web-01", validity);
    mkdirSync(home.certificates, { recursive: true });
    writeFileSync(home.caFile, ca.certificate);
    writeFileSync(home.certificateFile, agent.certificate);
    writeFileSync(home.keyFile, agent.key);
  };
  const serve = async (ca: Awaited<ReturnType<typeof createTestCa>>) => {
    const pair = await ca.server(["localhost", "127.0.0.1"]);
    const server: Server = createServer({ cert: pair.certificate, key: pair.key, ALPNProtocols: ["h2"] });
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    return { port, close: () => server.close() };
  };

  test("not enrolled, expired, away, of another CA, and there", async () => {
    const at = (port: number, host = "127.0.0.1") =>
      hubCheck(`grpcs://${host}:${port}`, home.certificates, clock);
    expect(await at(1)).toMatchObject({ state: "failed", detail: expect.stringContaining("not enrolled") });
    const ca = await createTestCa();
    await place(ca, { notAfter: new Date(clock.wall() - 1000) });
    expect(await at(1)).toMatchObject({ state: "failed", detail: expect.stringContaining("expired") });
    await place(ca);
    expect(await at(1)).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("cannot be reached"),
    });
    const [own, foreign] = await Promise.all([serve(ca), serve(await createTestCa("another"))]);
    try {
      expect(await at(own.port)).toMatchObject({ state: "ok" });
      expect(await at(own.port, "localhost")).toMatchObject({ state: "ok" });
      expect(await at(foreign.port)).toMatchObject({ state: "failed" });
    } finally {
      own.close();
      foreign.close();
    }
  });
});

describe("everyday commands", () => {
  const facts: KernelFacts = {
    kernel: "6.12",
    arch: "x64",
    root: false,
    landlockAbi: 6,
    seccomp: true,
    mountNamespace: true,
    netNamespace: true,
    cgroup: { kind: "none", reason: "" },
    reasons: {},
  };
  test("with both namespaces all but ps work; without, the reason is told", () => {
    expect(everydayGaps(facts).map((gap) => gap.commands)).toEqual([["ps"]]);
    const without = { ...facts, mountNamespace: false, netNamespace: false };
    const gaps = everydayGaps({
      ...without,
      reasons: { mountNamespace: "user namespaces are switched off" },
    });
    expect(gaps.map((gap) => gap.commands[0])).toEqual(["chmod", "ssh", "ps"]);
    expect(gaps[0]!.reason).toContain("(user namespaces are switched off)");
    expect(everydayGaps({ ...without, landlockAbi: 2 })[1]!.commands).toContain("curl");
  });
});
