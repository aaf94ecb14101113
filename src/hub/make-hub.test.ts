import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { loadHubConfig } from "./config.ts";
import { hashToken } from "./enrollment/tokens.ts";
import { hubHome } from "./home.ts";
import { initHub } from "./hub.ts";
import { openHubTls } from "./server-certificate.ts";
import { openHubStore } from "./store/hub-store.ts";

const DAY_MS = 86_400_000;
const clock = systemClock();
const ids = systemIds();
const config = {
  sync: { listen: "127.0.0.1:8443" },
  api: { listen: "127.0.0.1:0" },
  health: { listen: "127.0.0.1:0" },
  names: ["hub.example", "127.0.0.1", "::1"],
};
let base: string;
const init = (extra: object = {}) => initHub({ base, config, tokenFile: undefined, clock, ids, ...extra });
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "hub-make-"));
});
afterEach(() => rmSync(base, { recursive: true }));

describe("making a hub", () => {
  test("leaves a complete home with closed secrets, and stores hashes only", async () => {
    const made = await init();
    const { home } = made;
    expect(readdirSync(base)).toEqual(["hub"]);
    expect([home.caKeyFile, home.serverKeyFile, home.certificates, home.data, home.root].map(mode)).toEqual([
      "600",
      "600",
      "700",
      "700",
      "750",
    ]);
    expect(loadHubConfig(home.configFile).names).toEqual(config.names);
    expect(made.adminToken).toMatch(/^hfadm_[\w-]{43}$/);
    expect(made.join.command).toBe(
      `holdfast agent enroll --hub grpcs://hub.example:8443 --token ${made.join.token} --ca-pin ${made.pin} --id ID`,
    );
    const ca = new X509Certificate(readFileSync(home.caFile));
    expect(new X509Certificate(readFileSync(home.serverFile)).verify(ca.publicKey)).toBe(true);
    const store = await openHubStore({ file: home.database, clock, ids });
    expect(await store.apiToken(hashToken(made.adminToken!))).toEqual({ name: "admin", role: "admin" });
    expect(store.hubId).toBe(made.hubId);
    await store.close();
    const stored = readFileSync(home.database, "latin1");
    expect([stored.includes(made.adminToken!), stored.includes(made.join.token)]).toEqual([false, false]);
  });

  test("a second one changes nothing", async () => {
    const { home } = await init();
    const before = readFileSync(home.caFile, "utf8");
    await expect(init()).rejects.toMatchObject({ code: "conflict" });
    expect(readFileSync(home.caFile, "utf8")).toBe(before);
    expect(readdirSync(base)).toEqual(["hub"]);
  });

  test.each([
    ["beside the hub", () => join(base, "admin.token")],
    ["inside it", () => join(base, "hub", "admin.token")],
  ])("puts the admin token into a file %s", async (_name, path) => {
    const made = await init({ tokenFile: path() });
    expect(made.adminToken).toBeNull();
    expect(readFileSync(path(), "utf8")).toMatch(/^hfadm_[\w-]{43}\n$/);
    expect(mode(path())).toBe("600");
  });

  test("a token file that cannot be written leaves no hub", async () => {
    await expect(init({ tokenFile: join(base, "missing", "token") })).rejects.toThrow("Cannot write");
    expect(readdirSync(base)).toEqual([]);
  });

  test("a token file that exists is not overwritten", async () => {
    writeFileSync(join(base, "token"), "another hub's");
    await expect(init({ tokenFile: join(base, "token") })).rejects.toMatchObject({ code: "conflict" });
    expect(readdirSync(base)).toEqual(["token"]);
    expect(readFileSync(join(base, "token"), "utf8")).toBe("another hub's");
  });

  test("clears away what a killed one left, but not what one alive makes", async () => {
    mkdirSync(join(base, "hub.new-999999999"));
    mkdirSync(join(base, "hub.new-1"));
    writeFileSync(join(base, "hub.new-999999999", "x"), "");
    await init();
    expect(readdirSync(base).sort()).toEqual(["hub", "hub.new-1"]);
  });

  test.each([
    ["a read-only place", () => "/proc/holdfast-test"],
    ["a file in the way", () => join(base, "file", "below")],
  ])("refuses %s", async (_name, path) => {
    writeFileSync(join(base, "file"), "");
    await expect(init({ base: path() })).rejects.toThrow(/Cannot make the hub in .*--home DIR/);
  });
});

describe("the server's certificate at start", () => {
  const open = (names = config.names, nowMs = clock.trusted()) =>
    openHubTls({ home: hubHome(base), names, nowMs, ids, log: silentLogger() });
  const current = () => readFileSync(hubHome(base).serverFile, "utf8");

  test("stays while it is good, and comes with its CA", async () => {
    const { pin } = await init();
    const before = current();
    const tls = await open();
    expect(current()).toBe(before);
    expect(tls.ca.pin).toBe(pin);
    expect(tls.chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect((await open(["::1", "HUB.example", "127.0.0.1"])).chain).toBe(tls.chain);
  });

  test.each<[string, () => Promise<unknown>]>([
    ["names changed", () => open([...config.names, "other.example"])],
    ["it ends in less than 30 days", () => open(config.names, clock.trusted() + 336 * DAY_MS)],
    [
      "it is gone",
      () => {
        rmSync(hubHome(base).serverFile);
        return open();
      },
    ],
    [
      "its key is another's",
      () => {
        writeFileSync(hubHome(base).serverKeyFile, readFileSync(hubHome(base).caKeyFile));
        return open();
      },
    ],
    [
      "it cannot be read",
      () => {
        writeFileSync(hubHome(base).serverFile, "nonsense");
        return open();
      },
    ],
  ])("is made anew when %s", async (_name, change) => {
    await init();
    const before = current();
    await change();
    expect(current()).not.toBe(before);
    const after = current();
    expect(
      new X509Certificate(after).verify(new X509Certificate(readFileSync(hubHome(base).caFile)).publicKey),
    ).toBe(true);
  });

  test("a broken CA is named", async () => {
    await init();
    writeFileSync(hubHome(base).caKeyFile, "nonsense");
    await expect(open()).rejects.toMatchObject({ code: "corrupt" });
  });
});
