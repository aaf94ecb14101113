import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createLogger } from "../../core/logger.ts";
import { type HubFixture, hubFixture, VIEWER_TOKEN } from "../../testing/hub-fixture.ts";

let hub: HubFixture;

beforeEach(async () => {
  hub = await hubFixture();
});
afterEach(() => hub.close());

async function getJson(path: string, init?: RequestInit): Promise<any> {
  const response = await hub.request(path, init);
  return { status: response.status, headers: response.headers, body: await response.json() };
}

async function expectProblem(response: Response, status: number, code: string): Promise<any> {
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = (await response.json()) as any;
  expect(body).toMatchObject({ type: `urn:holdfast:problem:${code}`, status, code });
  expect(body.requestId).toBe(response.headers.get("x-request-id"));
  expect(body.detail.length).toBeGreaterThan(20);
  expect(JSON.stringify(body)).not.toMatch(/\bat .*\.ts:\d+/);
  return body;
}

const ROUTES = [
  "agents",
  "agents/web-01",
  "agents/web-01/losses",
  "events",
  "events/stream",
  "runs",
  "runs/stream",
  "runs/0192",
  "stats",
  "nothing",
];
const id = (last: string) => `01938e5c-0000-7000-8000-00000000${last}`;

describe("who may ask", () => {
  test("GET /api/v1 is open and says name and version only", async () => {
    const response = await hub.api.fetch(new Request("http://127.0.0.1/api/v1"));
    expect(await response.json()).toEqual({ name: "holdfast", version: "9.9.9" });
  });

  test.each(ROUTES)("GET /api/v1/%s wants a token", async (route) => {
    const response = await hub.api.fetch(new Request(`http://127.0.0.1/api/v1/${route}`));
    expect(response.headers.get("www-authenticate")).toStartWith("Bearer");
    await expectProblem(response, 401, "unauthenticated");
  });

  test("POST join-tokens wants a token, and refuses a role that is not admin", async () => {
    const url = "http://127.0.0.1/api/v1/join-tokens";
    await expectProblem(await hub.api.fetch(new Request(url, { method: "POST" })), 401, "unauthenticated");
    const headers = { authorization: `Bearer ${VIEWER_TOKEN}` };
    await expectProblem(await hub.request("/api/v1/join-tokens", { method: "POST", headers }), 403, "denied");
  });

  test("POST receipt-key/rotate wants a token of an administrator", async () => {
    const path = "/api/v1/receipt-key/rotate";
    const url = `http://127.0.0.1${path}`;
    await expectProblem(await hub.api.fetch(new Request(url, { method: "POST" })), 401, "unauthenticated");
    const headers = { authorization: `Bearer ${VIEWER_TOKEN}` };
    await expectProblem(await hub.request(path, { method: "POST", headers }), 403, "denied");
    const made = await hub.request(path, { method: "POST" });
    expect([made.status, await made.json()]).toEqual([201, { serial: "4f", certificates: 2 }]);
  });

  test.each(["Bearer wrong-token-here", "Bearer", "Basic YTpi", "Bearer a b"])(
    "authorization %p is refused",
    async (authorization) => {
      const response = await hub.request("/api/v1/agents", { headers: { authorization } });
      await expectProblem(response, 401, "unauthenticated");
    },
  );

  test("guessing tokens is slowed down with 429 and Retry-After", async () => {
    let response: Response;
    let tries = 0;
    do {
      response = await hub.request("/api/v1/agents", { headers: { authorization: `Bearer guess-${tries}` } });
    } while (response.status === 401 && ++tries < 500);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    await expectProblem(response, 429, "exhausted");
  });

  test.each(["evil.example", "evil.example:8442", "127.0.0.1.evil.example", "", "localhost.evil:80"])(
    "Host %p is refused with 421",
    async (host) => {
      const response = await hub.request("/api/v1", { headers: { host } });
      await expectProblem(response, 421, "denied");
    },
  );

  test.each(["localhost", "localhost:8442", "127.0.0.1:1", "[::1]:8442", "10.1.2.3", "up.localhost"])(
    "Host %p is served",
    async (host) => {
      expect((await hub.request("/api/v1", { headers: { host } })).status).toBe(200);
    },
  );
});

describe("the envelope", () => {
  test("security headers, no CORS, and a request id that a caller may give", async () => {
    const headers = { origin: "https://evil.example", "x-request-id": "trace-7" };
    const { headers: got } = await getJson("/api/v1/agents", { headers });
    expect(got.get("x-content-type-options")).toBe("nosniff");
    expect(got.get("cache-control")).toBe("no-store");
    expect(got.get("content-security-policy")).toContain("default-src 'none'");
    expect(got.get("access-control-allow-origin")).toBeNull();
    expect(got.get("x-request-id")).toBe("trace-7");
    const other = await getJson("/api/v1/agents", { headers: { "x-request-id": "bad id\t<script>" } });
    expect(other.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("unknown route 404, wrong method 405 with Allow, large body 413", async () => {
    const missing = await expectProblem(await hub.request("/api/v1/agent"), 404, "not_found");
    expect(missing.detail).toContain("/api/v1/agent");
    const wrong = await hub.request("/api/v1/agents", { method: "DELETE" });
    expect(wrong.headers.get("allow")).toContain("GET");
    await expectProblem(wrong, 405, "usage");
    const body = JSON.stringify({ ttl: "x".repeat(70_000) });
    const large = await hub.request("/api/v1/join-tokens", { method: "POST", body });
    await expectProblem(large, 413, "too_large");
  });

  test("an error inside tells the caller the request id, and the log the reason", async () => {
    const lines: string[] = [];
    const log = createLogger({
      sinks: [{ write: (line) => lines.push(line) }],
      level: () => "info",
      wall: () => 0,
    });
    await hub.close();
    hub = await hubFixture({ log });
    hub.store.counts = () => Promise.reject(new Error("disk I/O error at /var/lib/holdfast"));
    const body = await expectProblem(await hub.request("/api/v1/stats"), 500, "failed");
    expect(body.detail).not.toContain("/var/lib");
    expect(lines.join()).toContain("disk I/O error");
    expect(lines.join()).toContain(body.requestId);
  });
});

describe("agents", () => {
  test("list with status, version and labels; a selector chooses", async () => {
    await hub.addAgent("web-01", { role: "web", site: "berlin" });
    await hub.addAgent("web-02", { role: "web", site: "paris" });
    await hub.addAgent("db-01", { role: "db", site: "berlin" });
    hub.online.add("web-01");
    const { body } = await getJson("/api/v1/agents");
    expect(body.next).toBeNull();
    expect(body.items.map((item: any) => item.id)).toEqual(["db-01", "web-01", "web-02"]);
    expect(body.items[1]).toMatchObject({
      status: "online",
      connected: true,
      transport: "grpc",
      connectedAt: "2026-09-21T14:13:20.000Z",
      version: "9.9.9",
      lastHeartbeatAt: null,
      labels: { role: "web", site: "berlin" },
    });
    expect(body.items[0].status).toBe("offline");
    const ids = async (selector: string) => {
      const answer = await getJson(`/api/v1/agents?selector=${encodeURIComponent(selector)}`);
      return answer.body.items.map((item: any) => item.id);
    };
    expect(await ids("role=web,site=berlin")).toEqual(["web-01"]);
    expect(await ids("site!=berlin")).toEqual(["web-02"]);
    expect(await ids("toString!=x")).toHaveLength(3);
    expect(await ids("role=none")).toEqual([]);
  });

  test("show one with facts, report and streams; hashes are hex", async () => {
    await hub.addAgent("web-01", {}, { hostname: "host-a" });
    await hub.store.heartbeat("web-01", { checks: [{ name: "store", state: "ok" }] }, Date.now(), 12);
    await hub.addEvent("web-01");
    const { body } = await getJson("/api/v1/agents/web-01");
    expect(body.facts.hostname).toBe("host-a");
    expect(body.report.checks[0]).toEqual({ name: "store", state: "ok" });
    expect(Date.parse(body.lastHeartbeatAt)).toBeGreaterThan(Date.now() - 60_000);
    expect(body.streams).toHaveLength(1);
    expect(body.streams[0]).toMatchObject({ lane: "events", segment: 1, number: 1, forked: 0 });
    expect(body.streams[0].hash).toMatch(/^[0-9a-f]{64}$/);
    expect(body.certificate.expiresAt).toMatch(/^20\d\d-/);
  });

  test("an unknown agent is not found", async () => {
    const body = await expectProblem(await hub.request("/api/v1/agents/nobody"), 404, "not_found");
    expect(body.detail).toContain('"nobody"');
  });
});

describe("bad parameters", () => {
  test.each([
    ["agents?selector=web", "selector"],
    ["agents?selector=", "selector"],
    ["agents?selektor=role=web", "selektor"],
    ["agents?selector=a=b&selector=c=d", "selector"],
    ["agents/web-01?x=1", "x"],
    ["events?limit=0", "limit"],
    ["events?limit=1001", "limit"],
    ["events?limit=ten", "limit"],
    ["events?limit=-1", "limit"],
    ["events?cursor=abc", "cursor"],
    ["events?severity=bad", "severity"],
    ["events?agent=", "agent"],
    ["events/stream?after=x", "after"],
    ["events/stream?limit=5", "limit"],
    ["runs?state=done", "state"],
    ["runs?cursor=abc", "cursor"],
    ["runs/stream?after=1.5", "after"],
    ["runs/xyz", "id"],
    ["runs/0192?agent=", "agent"],
    ["stats?x=1", "x"],
    ["events?__proto__=1", "__proto__"],
  ])("GET /api/v1/%s names %s", async (path, parameter) => {
    await hub.addAgent("web-01");
    const body = await expectProblem(await hub.request(`/api/v1/${path}`), 422, "invalid");
    expect(body.errors[0].path).toBe(parameter);
    expect(body.errors[0].message.length).toBeGreaterThan(5);
  });

  test("all of them in one answer", async () => {
    const body = await expectProblem(
      await hub.request("/api/v1/events?limit=0&severity=x&foo=1"),
      422,
      "invalid",
    );
    expect(body.errors.map((each: any) => each.path).sort()).toEqual(["foo", "limit", "severity"]);
  });
});

describe("events", () => {
  test("newest first, filters, and pages that neither skip nor repeat", async () => {
    await hub.addAgent("a");
    await hub.addAgent("b");
    for (let i = 0; i < 130; i++) {
      await hub.addEvent(i % 2 ? "a" : "b", {
        id: `e${i}`,
        type: i % 10 ? "log.line" : "disk.low",
        severity: "info",
      });
    }
    const seen: string[] = [];
    let cursor = "";
    do {
      const { body } = await getJson(`/api/v1/events?limit=60${cursor && `&cursor=${cursor}`}`);
      seen.push(...body.items.map((item: any) => item.id));
      cursor = body.next ?? "";
    } while (cursor);
    expect(seen).toEqual(Array.from({ length: 130 }, (_, i) => `e${129 - i}`));
    const { body } = await getJson("/api/v1/events?agent=b&type=disk.low&severity=info&limit=1000");
    expect(body.items.map((item: any) => item.id)).toHaveLength(13);
    expect(body.next).toBeNull();
    expect(body.items[0]).toMatchObject({ agent: "b", type: "disk.low", subject: null });
    expect(body.items[0].event.specversion).toBe("1.0");
    expect((await getJson("/api/v1/events")).body.items).toHaveLength(50);
  });

  test("a page of large events ends early and goes on with its cursor", async () => {
    await hub.addAgent("a");
    for (let i = 0; i < 30; i++) await hub.addEvent("a", { id: `e${i}`, data: "x".repeat(250_000) });
    const first = (await getJson("/api/v1/events?limit=30")).body;
    expect(first.items.length).toBeGreaterThan(5);
    expect(first.items.length).toBeLessThan(20);
    const second = (await getJson(`/api/v1/events?limit=30&cursor=${first.next}`)).body;
    expect(second.items[0].id).toBe(`e${29 - first.items.length}`);
  });
});

describe("runs", () => {
  test("list with filters and pages, newest first, also where two agents have the same id", async () => {
    await hub.addAgent("a");
    await hub.addAgent("b");
    for (let i = 10; i < 20; i++) await hub.putRun("a", { id: id(`00${i}`) });
    await hub.putRun("b", { id: id("0015"), pipeline: "other", state: "failed", reason: "why" });
    const keys: string[] = [];
    let cursor = "";
    do {
      const query = cursor && `&cursor=${encodeURIComponent(cursor)}`;
      const { body } = await getJson(`/api/v1/runs?limit=3${query}`);
      keys.push(...body.items.map((item: any) => `${item.id}/${item.agent}`));
      cursor = body.next ?? "";
    } while (cursor);
    expect(keys).toHaveLength(11);
    expect(keys).toEqual([...new Set(keys)].sort().reverse());
    const { body } = await getJson("/api/v1/runs?agent=b&pipeline=other&state=failed");
    expect(body.items).toMatchObject([{ id: id("0015"), agent: "b", reason: "why", rule: "a rule" }]);
  });

  test("show one with its steps, output and errors", async () => {
    await hub.addAgent("a");
    await hub.putRun("a", { id: id("0001"), startedMs: Date.now() });
    const error = { message: "no", code: "failed", retryable: false, started: true };
    await hub.putStep("a", {
      run: id("0001"),
      step: "note",
      state: "failed",
      output: { stdout: "hi" },
      error,
    });
    const { body } = await getJson(`/api/v1/runs/${id("0001")}`);
    expect(body).toMatchObject({ agent: "a", pipeline: "react", state: "running", endedAt: null });
    expect(body.steps).toMatchObject([
      { step: "note", state: "failed", attempts: 1, output: { stdout: "hi" }, error, needs: [] },
    ]);
    expect(body.steps[0].startedAt).toMatch(/Z$/);
  });

  test("the beginning or end of an id is enough when it fits one run", async () => {
    await hub.addAgent("a");
    await hub.addAgent("b");
    await hub.putRun("a", { id: id("aa01") });
    await hub.putRun("b", { id: id("bb01") });
    expect((await getJson("/api/v1/runs/AA01")).body.id).toBe(id("aa01"));
    expect((await getJson("/api/v1/runs/01938e5c?agent=b")).body.id).toBe(id("bb01"));
    const body = await expectProblem(await hub.request("/api/v1/runs/01938e5c"), 409, "conflict");
    expect(body.detail).toContain(id("aa01"));
    expect(body.detail).toContain("(b)");
    await expectProblem(await hub.request("/api/v1/runs/ffff"), 404, "not_found");
    await expectProblem(await hub.request("/api/v1/runs/aa01?agent=b"), 404, "not_found");
  });
});

describe("the hub", () => {
  test("stats", async () => {
    await hub.addAgent("a");
    await hub.addAgent("b");
    hub.online.add("a");
    await hub.addEvent("a");
    expect((await getJson("/api/v1/stats")).body).toEqual({
      agents: 2,
      events: 1,
      runs: 0,
      records: 1,
      agentsByStatus: { online: 1, late: 0, offline: 1 },
    });
  });

  test("join tokens with defaults and with values", async () => {
    const made = await getJson("/api/v1/join-tokens", { method: "POST" });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ token: "hfjoin_abc", uses: 1, expiresAt: "2026-11-22T00:00:00.000Z" });
    const body = JSON.stringify({ uses: 5, ttl: "30m" });
    const headers = { "content-type": "application/json; charset=utf-8" };
    const second = await getJson("/api/v1/join-tokens", { method: "POST", body, headers });
    expect(second.body).toMatchObject({ uses: 5, expiresAt: "2026-11-21T00:30:00.000Z" });
    expect(second.body.command).toContain("--uses 5");
  });

  test.each([
    [{ uses: 0 }, "uses"],
    [{ uses: 1.5 }, "uses"],
    [{ uses: "2" }, "uses"],
    [{ ttl: "soon" }, "ttl"],
    [{ ttl: "1s" }, "ttl"],
    [{ ttl: "60d" }, "ttl"],
    [{ tll: "1h" }, "tll"],
    [[], "body"],
    [null, "body"],
  ])("join token of %j is refused at %s", async (value, path) => {
    const init = { method: "POST", body: JSON.stringify(value) };
    const body = await expectProblem(await hub.request("/api/v1/join-tokens", init), 422, "invalid");
    expect(body.errors[0].path).toBe(path);
  });

  test("a body that is no JSON is 400, another media type 415", async () => {
    const broken = await hub.request("/api/v1/join-tokens", { method: "POST", body: "{uses" });
    await expectProblem(broken, 400, "usage");
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const form = await hub.request("/api/v1/join-tokens", { method: "POST", body: "uses=1", headers });
    await expectProblem(form, 415, "usage");
  });
});
