import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Emit, PluginClock, ProposedEvent } from "../../src/sdk/holdfast.ts";
import { settingsIssues } from "../../src/sdk/settings.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import { createTestCa } from "../../src/testing/test-ca.ts";
import { until } from "../../src/testing/until.ts";
import { readSecrets } from "./authenticate.ts";
import { openCertificate, type ServerCertificate, watchCertificate } from "./certificate.ts";
import webhook from "./plugin.ts";
import { TokenBucket } from "./token-bucket.ts";

const SECRET = "0123456789abcdef-secret";
/** Without a secret. */
const BASE = { port: 9120, auth: "bearer" };
const OLD = "fedcba9876543210-secret";

let folder: string;
let port: number;
let stop: AbortController;
let running: Promise<void>;
let kept: ProposedEvent[];
let held: NonNullable<Emit["done"]>[];
/** What the agent does with an emit. */
let keep: (emit: Emit) => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-webhook-"));
  writeFileSync(join(folder, "secret"), `${SECRET}\n${OLD}\n`);
  port = await freePort();
  stop = new AbortController();
  running = Promise.resolve();
  kept = [];
  held = [];
  keep = ({ events, done }) => {
    kept.push(...events);
    done!(null);
  };
});
afterEach(async () => {
  stop.abort();
  await running;
  rmSync(folder, { recursive: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: free } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return free;
}

async function start(
  settings: Record<string, unknown> = {},
  clock: Partial<PluginClock> = {},
  ca?: string,
): Promise<void> {
  const given = {
    port,
    auth: "bearer",
    secret_file: join(folder, "secret"),
    rate: 10_000,
    burst: 10_000,
    ...settings,
  };
  const { context } = contextFor(webhook, { settings: given, home: folder, signal: stop.signal, clock });
  const generator = webhook.run(context);
  running = (async () => {
    for await (const item of generator) keep(item as Emit);
  })();
  let failed: unknown;
  running.catch((error: unknown) => (failed = error));
  for (const end = performance.now() + 20_000; ; await Bun.sleep(5)) {
    if (failed !== undefined) throw failed;
    const answer = ca
      ? fetch(`https://127.0.0.1:${port}/`, { tls: { ca } })
      : fetch(`http://127.0.0.1:${port}/`);
    if (await answer.catch(() => null)) return;
    if (performance.now() > end) throw new Error("the server does not come");
  }
}

/** What is wrong with settings, as the configuration is checked. */
const problemsOf = (given: Record<string, unknown>): [string, string][] =>
  settingsIssues(webhook.settings, given).map(({ path, message }) => [path.join("."), message]);

type Headers = Record<string, string>;
const post = (body: string | ReadableStream, headers: Headers = {}, path = "/") =>
  fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body, headers });
const bearer = (more: Headers = {}) => ({ authorization: `Bearer ${SECRET}`, ...more });

function signed(body: string, { secret = SECRET, at = Date.now(), key = "" } = {}): Headers {
  const t = Math.floor(at / 1000);
  const v1 = createHmac("sha256", secret).update(`${t}.${key}.${body}`).digest("hex");
  return { "holdfast-signature": `t=${t},v1=${v1}`, ...(key === "" ? {} : { "idempotency-key": key }) };
}

async function problemOf(response: Response): Promise<{ status: number; detail: string }> {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const problem = (await response.json()) as { type: string; title: string; status: number; detail: string };
  expect(problem).toMatchObject({ type: "about:blank", status: response.status });
  return problem;
}

describe("a call that proves itself", () => {
  test("is answered when its event is kept, and not before", async () => {
    keep = ({ events, done }) => {
      kept.push(...events);
      held.push(done!);
    };
    await start();
    let answered = false;
    const answer = post('{"a": [1]}', bearer({ "content-type": "application/json" }), "/?x=1").finally(
      () => (answered = true),
    );
    await until("the event", () => held.length === 1);
    expect(answered).toBe(false);
    held[0]!(null);
    const response = await answer;
    expect(response.status).toBe(202);
    expect(await response.json()).toEqual({ accepted: true });
    expect(kept).toEqual([
      { type: "webhook.received", subject: "/", data: { path: "/", query: { x: "1" }, body: { a: [1] } } },
    ]);
  });

  test("that the agent refuses is told to come again", async () => {
    keep = ({ done }) => done!("disk full");
    await start();
    const response = await post("x", bearer());
    expect(response.headers.get("retry-after")).toBe("5");
    expect((await problemOf(response)).status).toBe(503);
  });

  test("with the second secret, or with a signature", async () => {
    await start();
    expect((await post("x", { authorization: `bearer ${OLD}` })).status).toBe(202);
    stop.abort();
    await running;
    stop = new AbortController();
    await start({ auth: "hmac" });
    expect((await post("x", signed("x"))).status).toBe(202);
    expect((await post("y", signed("y", { secret: OLD, key: "k-1" }))).status).toBe(202);
    const [, first, second] = kept.map(({ id }) => id);
    expect(first).toMatch(/^\/ [0-9a-f]{64}$/);
    expect(second).toBe("/ k-1");
  });

  test("that comes again has the same id, so that the store knows it", async () => {
    await start({ auth: "hmac" });
    const headers = signed("x");
    for (let again = 0; again < 3; again++) expect((await post("x", headers)).status).toBe(202);
    expect(new Set(kept.map(({ id }) => id)).size).toBe(1);
  });
});

describe("forged, stale and large calls are refused", () => {
  test("without the right secret: 401", async () => {
    await start();
    for (const headers of [
      {},
      { authorization: "Bearer no" },
      { authorization: `Basic ${SECRET}` },
    ] as Headers[]) {
      const response = await post("x", headers);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect((await problemOf(response)).status).toBe(401);
    }
    expect(kept).toEqual([]);
  });

  test("a signature of another body, key, time or secret: 401; of another hour: 403", async () => {
    await start({ auth: "hmac" });
    const good = signed("x", { key: "k" });
    const forged = [
      () => post("y", good),
      () => post("x", { ...good, "idempotency-key": "other" }),
      () => post("x", { ...good, "holdfast-signature": good["holdfast-signature"]!.replace(/t=\d/, "t=9") }),
      () => post("x", signed("x", { secret: "another secret of 16" })),
      () => post("x", {}),
      () => post("x", { "holdfast-signature": "t=1,v1=zz" }),
    ];
    for (const call of forged) expect((await problemOf(await call())).status).toBe(401);
    for (const shift of [-301_000, 302_000]) {
      const stale = await problemOf(await post("x", signed("x", { at: Date.now() + shift })));
      expect(stale).toMatchObject({ status: 403, detail: expect.stringContaining("good for 5 minutes") });
    }
    expect(kept).toEqual([]);
  });

  test("many of them are put off, and the right secret still comes through", async () => {
    await start();
    const statuses = new Set<number>();
    for (let call = 0; call < 40; call++) statuses.add((await post("x", {})).status);
    expect(statuses).toEqual(new Set([401, 429]));
    expect((await post("x", bearer())).status).toBe(202);
  });

  test("a body over the limit: 413, told or not", async () => {
    await start({ max_body: "1KB" });
    for (const size of [1025, 100_000, 20_000_000])
      expect((await problemOf(await post("x".repeat(size), bearer()))).status).toBe(413);
    const stream = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(600));
      },
    });
    const response = await post(stream, bearer()).catch(() => null);
    expect(response?.status ?? 413).toBe(413);
    expect((await post("x".repeat(1024), bearer())).status).toBe(202);
    // The quotes make the event larger than the body.
    stop.abort();
    await running;
    stop = new AbortController();
    await start({ max_body: "128KB" });
    expect((await problemOf(await post("\u0001".repeat(100_000), bearer()))).status).toBe(413);
  });

  test("a body that is nested without end: 400", async () => {
    await start();
    const json = bearer({ "content-type": "application/json" });
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    expect((await post(nested(100), json)).status).toBe(202);
    for (const levels of [101, 30_000])
      expect((await problemOf(await post(nested(levels), json))).status).toBe(400);
    expect((await post(nested(30_000), bearer())).status).toBe(202);
  });

  test("another path: 404; another method: 405; a bad key: 400", async () => {
    await start();
    expect((await problemOf(await post("x", bearer(), "/other"))).status).toBe(404);
    const get = await fetch(`http://127.0.0.1:${port}/`, { headers: bearer() });
    expect(get.headers.get("allow")).toBe("POST");
    expect((await problemOf(get)).status).toBe(405);
    expect((await problemOf(await post("x", bearer({ "idempotency-key": "a b" })))).status).toBe(400);
  });
});

describe("a flood", () => {
  test("over the rate: 429 with Retry-After", async () => {
    await start({ rate: 0.5, burst: 3 });
    const responses = await Promise.all(Array.from({ length: 10 }, () => post("x", bearer())));
    const statuses = responses.map(({ status }) => status).toSorted();
    expect(statuses).toEqual([202, 202, 202, ...Array<number>(7).fill(429)]);
    const refused = responses.find(({ status }) => status === 429)!;
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect((await problemOf(refused)).status).toBe(429);
  });

  test("while the agent keeps nothing: so many wait, the others are told to come again", async () => {
    keep = ({ done }) => void held.push(done!);
    await start();
    const calls = Array.from({ length: 200 }, () => post("x", bearer()));
    const settled = { busy: 0, taken: 0 };
    for (const call of calls)
      void call.then(({ status }) =>
        status === 503 ? settled.busy++ : status === 202 ? settled.taken++ : 0,
      );
    await until("the others to be told", () => settled.busy >= 72, 20_000);
    expect(held.length).toBeLessThanOrEqual(128);
    await until(
      "those that wait to be answered",
      () => {
        for (const done of held.splice(0)) done(null);
        return settled.busy + settled.taken === 200;
      },
      20_000,
    );
    expect(settled.taken).toBeGreaterThan(0);
  }, 60_000);

  test("a bucket gives so many at once and then so many a second", () => {
    let now = 0;
    const bucket = new TokenBucket({ perSecond: 2, burst: 3, mono: () => now });
    expect([1, 2, 3, 4].map(() => bucket.take())).toEqual([null, null, null, 1]);
    now = 500;
    expect([bucket.take(), bucket.take()]).toEqual([null, 1]);
    now = 60_000;
    expect([1, 2, 3, 4].map(() => bucket.take())).toEqual([null, null, null, 1]);
    const slow = new TokenBucket({ perSecond: 0.1, burst: 1, mono: () => now });
    expect([slow.take(), slow.take()]).toEqual([null, 10]);
  });
});

describe("a pattern", () => {
  const hooks = [
    { path: "/say", type: "said", field: "message.text", pattern: "^deploy (?P<app>[a-z]+)( now)?$" },
    { path: "/raw", pattern: "ticket-([0-9]+)" },
  ];
  const json = bearer({ "content-type": "application/json" });

  test("turns what matches into events with its groups; the rest does nothing", async () => {
    await start({ hooks });
    const say = (text: unknown) => post(JSON.stringify({ message: { text } }), json, "/say");
    expect((await say("deploy front")).status).toBe(202);
    expect((await say("please deploy front")).status).toBe(204);
    expect((await say(7)).status).toBe(204);
    expect((await post("deploy front", bearer(), "/say")).status).toBe(204);
    expect((await post("about ticket-42", bearer(), "/raw")).status).toBe(202);
    expect(
      kept.map(({ type, subject, data }) => [type, subject, (data as { groups: unknown }).groups]),
    ).toEqual([
      ["said", "/say", ["front", null]],
      ["webhook.received", "/raw", ["42"]],
    ]);
    expect(kept[0]!.data).toMatchObject({ named: { app: "front" } });
  });

  test("takes time that grows with the text only", async () => {
    await start({ hooks: [{ path: "/", pattern: "^(a+)+$" }] });
    const began = performance.now();
    expect((await post(`${"a".repeat(30_000)}!`, bearer())).status).toBe(204);
    expect(performance.now() - began).toBeLessThan(5000);
  });

  test("that is none is told by the settings", () => {
    const wrong = { ...BASE, secret: SECRET, hooks: [{ path: "/", pattern: "(?<!a)b" }] };
    expect(problemsOf(wrong)).toEqual([
      ["hooks.0.pattern", expect.stringContaining("it is no regular expression (RE2): ")],
    ]);
  });
});

describe("the settings", () => {
  test("want one secret, and paths that differ", () => {
    expect(problemsOf({ ...BASE, secret: SECRET })).toEqual([]);
    expect(problemsOf({ ...BASE, secret_file: "/x" })).toEqual([]);
    for (const wrong of [BASE, { ...BASE, secret: SECRET, secret_file: "/x" }])
      expect(problemsOf(wrong)).toEqual([
        ["secret", "one of secret and secret_file is needed, and not both"],
      ]);
    const twice = [{ path: "/a" }, { path: "/a" }];
    expect(problemsOf({ ...BASE, secret: SECRET, hooks: twice })).toEqual([
      ["hooks", "two hooks have the same path"],
    ]);
  });

  test("refuse plain HTTP for other hosts", () => {
    const at = (address: string, more = {}) => problemsOf({ ...BASE, secret: SECRET, address, ...more });
    for (const own of ["127.0.0.1", "127.1.2.3", "::1", "localhost"]) expect(at(own)).toEqual([]);
    for (const open of ["0.0.0.0", "::", "10.0.0.7", "127.0.0.1.example.org", "web"])
      expect(at(open)).toEqual([["address", expect.stringContaining("plain HTTP is for loopback only")]]);
    expect(at("0.0.0.0", { tls: { cert: "/c", key: "/k" } })).toEqual([]);
    expect(at("0.0.0.0", { tls: { cert: "c", key: "k" } }).map(([where]) => where)).toEqual([
      "tls.cert",
      "tls.key",
    ]);
  });
});

describe("TLS", () => {
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  test("with a key from a file or a text; who trusts its root gets through, plain HTTP does not", async () => {
    const ca = await createTestCa();
    const { certificate, key } = await ca.server(["127.0.0.1"]);
    const cert = write("crt", certificate);
    for (const given of [key, write("key", key)]) {
      await start({ tls: { cert, key: given } }, {}, ca.certificate);
      const call = (options: BunFetchRequestInit) =>
        fetch(`https://127.0.0.1:${port}/`, { method: "POST", body: "x", headers: bearer(), ...options });
      expect((await call({ tls: { ca: ca.certificate } })).status).toBe(202);
      await expect(call({})).rejects.toThrow(/certificate/);
      expect(
        await post("x", bearer()).then(
          ({ status }) => status,
          () => 0,
        ),
      ).not.toBe(202);
      stop.abort();
      await running;
      stop = new AbortController();
    }
    expect(kept).toHaveLength(2);
  });

  test("that cannot work is told, each as what it is", async () => {
    const ca = await createTestCa();
    const day = 86_400_000;
    const wallMs = Date.now();
    const [good, other] = [await ca.server(["a"]), await ca.server(["a"])];
    const over = await ca.server(["a"], {
      notAfter: new Date(wallMs - day),
      notBefore: new Date(wallMs - 2 * day),
    });
    const early = await ca.server(["a"], { notBefore: new Date(wallMs + day) });
    const cases: [Record<string, string>, RegExp][] = [
      [{ cert: join(folder, "none"), key: good.key }, /tls.cert .*none cannot be read \(ENOENT\)/],
      [{ cert: write("a.crt", "x"), key: good.key }, /tls.cert .*a.crt holds no certificate in PEM/],
      [{ cert: write("b.crt", good.certificate), key: join(folder, "no") }, /tls.key .*no cannot be read/],
      [
        { cert: write("c.crt", good.certificate), key: "-----BEGIN x" },
        /tls.key from the secrets is no private key/,
      ],
      [{ cert: write("d.crt", good.certificate), key: other.key }, /is not the key of the certificate in/],
      [
        { cert: write("e.crt", over.certificate), key: over.key },
        /has expired on \d{4}-\d\d-\d\d: put a new one/,
      ],
      [
        { cert: write("f.crt", early.certificate), key: early.key },
        /is good from .* only: is this host's clock/,
      ],
    ];
    for (const [tls, message] of cases)
      await expect(openCertificate(tls as unknown as ServerCertificate, wallMs)).rejects.toThrow(message);
  });

  test("that ends soon, or has ended meanwhile, is told of", async () => {
    const day = 86_400_000;
    const { certificate, key } = await (await createTestCa()).server(["a"]);
    const { expiresMs } = await openCertificate({ cert: write("crt", certificate), key }, Date.now());
    expect(Math.round((expiresMs - Date.now()) / day)).toBe(30);
    const linesAt = async (wallMs: number) => {
      const clock: Partial<PluginClock> = {
        wall: () => wallMs,
        async *every() {
          yield 0;
        },
      };
      const { context, lines } = contextFor(webhook, {
        settings: { ...BASE, secret: SECRET },
        home: folder,
        clock,
      });
      const { clock: given, log } = context;
      await watchCertificate({ file: "crt", expiresMs }, { clock: given, log, signal: stop.signal });
      return lines.map(({ level, message }) => [level, message.replace(/\d{4}-\d\d-\d\d/, "DAY")]);
    };
    expect(await linesAt(Date.now())).toEqual([]);
    expect(await linesAt(Date.now() + 20 * day)).toEqual([
      ["warn", "the certificate expires on DAY: put a new one there and restart"],
    ]);
    expect(await linesAt(Date.now() + 40 * day)).toEqual([
      ["error", "the certificate has expired on DAY: put a new one there and restart"],
    ]);
  });
});

test("a file without a good secret is told", () => {
  expect(() => readSecrets("\n", { from: "f", auth: "hmac" })).toThrow(/f holds no secret/);
  expect(() => readSecrets("short\n", { from: "f", auth: "hmac" })).toThrow(/line 1 of f is shorter than 16/);
  const blank = `${SECRET}\nsixteen characters and a blank`;
  expect(() => readSecrets(blank, { from: "f", auth: "bearer" })).toThrow(/line 2 of f holds a blank/);
  expect(readSecrets(blank, { from: "f", auth: "hmac" })).toHaveLength(2);
});
