import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import type { HoldfastError } from "../../core/errors.ts";
import { systemIds } from "../../core/ids.ts";
import { ADMIN_TOKEN, type HubFixture, hubFixture } from "../../testing/hub-fixture.ts";
import { HubClient } from "./client.ts";
import type { StreamState } from "./follow.ts";

let hub: HubFixture;
const ending = { current: new AbortController() };

beforeEach(async () => {
  hub = await hubFixture();
  hub.listen();
  await hub.addAgent("web-01", { role: "web" }, { hostname: "host-a" });
  ending.current = new AbortController();
});
afterEach(async () => {
  ending.current.abort();
  await hub.close();
});

function client(options: { url?: string; token?: string; timeoutMs?: number } = {}): HubClient {
  return new HubClient({
    target: { url: options.url ?? hub.url, token: options.token ?? ADMIN_TOKEN, source: "a test" },
    clock: systemClock(),
    ids: systemIds(),
    timeoutMs: options.timeoutMs ?? 5000,
  });
}

async function failure(promise: Promise<unknown>): Promise<HoldfastError> {
  return await promise.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: unknown) => error as HoldfastError,
  );
}

/** A server that is not a hub. */
async function withServer(answer: () => Response | Promise<Response>, use: (url: string) => Promise<void>) {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  try {
    await use(`http://127.0.0.1:${server.port}`);
  } finally {
    await server.stop(true);
  }
}

describe("requests", () => {
  test("every call comes back typed", async () => {
    const id = "01938e5c-0000-7000-8000-000000000001";
    await hub.addEvent("web-01", { id: "e1", data: { line: "x" } });
    await hub.putRun("web-01", { id });
    await hub.putStep("web-01", { run: id, step: "note", output: { ok: true } });
    const api = client();
    expect((await api.info()).version).toBe("9.9.9");
    expect((await api.agents({ selector: "role=web" })).items[0]!.id).toBe("web-01");
    expect((await api.agent("web-01")).facts.hostname).toBe("host-a");
    expect((await api.events({ agent: "web-01", limit: 5 })).items[0]!.event.data).toEqual({ line: "x" });
    expect((await api.runs({ state: "running" })).items[0]!.id).toBe(id);
    expect((await api.run("0001")).steps[0]!.output).toEqual({ ok: true });
    expect((await api.stats()).runs).toBe(1);
    expect((await api.createJoinToken({ uses: 3, ttl: "1h" })).uses).toBe(3);
  });

  test("problems keep their code", async () => {
    expect(await failure(client({ token: "wrong-token-0" }).agents())).toMatchObject({
      code: "unauthenticated",
    });
    expect(await failure(client().agent("nobody"))).toMatchObject({ code: "not_found" });
    expect(await failure(client().events({ limit: 0 }))).toMatchObject({ code: "invalid" });
    expect(await failure(client().agent("../../v1"))).toMatchObject({ code: "not_found" });
  });

  test("a hub that is down is unreachable, and the message says what to do but no token", async () => {
    const { url } = hub;
    await hub.cut();
    const error = await failure(client({ url }).agents());
    expect(error.code).toBe("unreachable");
    expect(error.message).toContain(url);
    expect(error.message).toContain("holdfast up");
    expect(error.message).not.toContain(ADMIN_TOKEN);
  });

  test("a hub that does not answer times out", async () => {
    await withServer(
      () => new Promise<Response>(() => {}),
      async (url) => {
        expect(await failure(client({ url, timeoutMs: 50 }).agents())).toMatchObject({ code: "timed_out" });
        const stream = client({ url, timeoutMs: 50 }).followEvents({ signal: ending.current.signal });
        expect(await failure(stream.next())).toMatchObject({ code: "timed_out" });
      },
    );
  });

  test("an answer that is no hub's is named as such; a redirect is not followed", async () => {
    await withServer(
      () => new Response("<html>", { headers: { "content-type": "text/html" } }),
      async (url) => expect((await failure(client({ url }).agents())).message).toContain("not what a hub"),
    );
    await withServer(
      () => Response.json({ items: [{ id: 5 }], next: null }),
      async (url) => expect((await failure(client({ url }).agents())).message).toContain("items.0.id"),
    );
    let hits = 0;
    await withServer(
      () => {
        hits++;
        return new Response(null, { status: 307, headers: { location: hub.url } });
      },
      async (url) => expect((await failure(client({ url }).agents())).message).toContain("307"),
    );
    expect(hits).toBe(1);
  });

  test("a proxy of the environment does not get to see a loopback hub's token", async () => {
    const seen: string[] = [];
    const before = process.env.HTTP_PROXY;
    await withServer(
      () => {
        seen.push("asked");
        return new Response("");
      },
      async (url) => {
        process.env.HTTP_PROXY = url;
        try {
          expect((await client().agents()).items).toHaveLength(1);
        } finally {
          if (before === undefined) delete process.env.HTTP_PROXY;
          else process.env.HTTP_PROXY = before;
        }
      },
    );
    expect(seen).toEqual([]);
  });
});

describe("live streams", () => {
  test("a hub that is cut and comes back: nothing missed, nothing twice", async () => {
    const states: StreamState["kind"][] = [];
    const { promise: lost, resolve: onLost } = Promise.withResolvers<void>();
    const { promise: open, resolve: onOpen } = Promise.withResolvers<void>();
    const stream = client().followEvents({
      signal: ending.current.signal,
      onState: ({ kind }) => {
        states.push(kind);
        if (kind === "lost") onLost();
        if (kind === "connected") onOpen();
      },
    });
    const first = stream.next();
    await open;
    await hub.addEvent("web-01", { id: "e0" });
    const seen = [(await first).value.id];
    const port = Number(new URL(hub.url).port);
    const next = stream.next();
    await hub.cut();
    await lost;
    for (let i = 1; i <= 3; i++) await hub.addEvent("web-01", { id: `e${i}` });
    hub.listen(port);
    seen.push((await next).value.id);
    while (seen.length < 4) seen.push((await stream.next()).value.id);
    await hub.addEvent("web-01", { id: "e4" });
    seen.push((await stream.next()).value.id);
    expect(seen).toEqual(["e0", "e1", "e2", "e3", "e4"]);
    expect(states[0]).toBe("connected");
    expect(states).toContain("lost");
    expect(states.at(-1)).toBe("connected");
  }, 15_000);

  test("a first connection that fails is told at once, unless asked to persist", async () => {
    const { url } = hub;
    const port = Number(new URL(url).port);
    await hub.cut();
    const stream = client({ url }).followRuns({ signal: ending.current.signal });
    expect(await failure(stream.next())).toMatchObject({ code: "unreachable" });
    const patient = client({ url }).followEvents({
      signal: ending.current.signal,
      persist: true,
      after: 0,
      onState: ({ kind }) => {
        if (kind === "lost") hub.listen(port);
      },
    });
    await hub.addEvent("web-01", { id: "late" });
    expect((await patient.next()).value.id).toBe("late");
  });

  test("a wrong token is not tried again", async () => {
    const stream = client({ token: "wrong-token-1" }).followEvents({
      signal: ending.current.signal,
      persist: true,
    });
    expect(await failure(stream.next())).toMatchObject({ code: "unauthenticated" });
  });

  test("ends without an error when the signal aborts", async () => {
    const stream = client().followRuns({
      signal: ending.current.signal,
      onState: () => ending.current.abort(),
    });
    expect((await stream.next()).done).toBe(true);
  });

  test("filters go to the hub", async () => {
    const filter = { type: "disk.low" };
    const stream = client().followEvents({ signal: ending.current.signal, filter, after: 0 });
    await hub.addEvent("web-01", { id: "no" });
    await hub.addEvent("web-01", { id: "yes", type: "disk.low" });
    expect((await stream.next()).value.id).toBe("yes");
  });
});
