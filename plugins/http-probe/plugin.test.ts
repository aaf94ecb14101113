import { afterAll, beforeEach, expect, test } from "bun:test";
import { type Json, v } from "../../src/sdk/holdfast.ts";
import { collect, contextFor } from "../../src/testing/plugin-context.ts";
import httpProbe from "./plugin.ts";

let answer: () => Response | Promise<Response> = () => new Response("hello");
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => answer() });
const url = server.url.href;
beforeEach(() => void (answer = () => new Response("hello")));
afterAll(() => server.stop(true));

function start(settings: Record<string, unknown>, checkpoint?: Json) {
  const options = { settings: { url, every: "10ms", ...settings }, home: "/" };
  return httpProbe.run(
    contextFor(httpProbe, { ...options, ...(checkpoint !== undefined && { checkpoint }) }).context,
  );
}

test("up once, down at each failed check from the limit on, up again", async () => {
  let calls = 0;
  answer = () => new Response("x", { status: ++calls >= 3 && calls <= 7 ? 503 : 200 });
  const { events, checkpoint } = await collect(start({ failures: 3 }), (all) => all.length === 5);
  expect(events.map((event) => [event.type, (event.data as { failures: number }).failures])).toEqual([
    ["probe.up", 0],
    ["probe.down", 3],
    ["probe.down", 4],
    ["probe.down", 5],
    ["probe.up", 5],
  ]);
  expect(events[1]?.data).toMatchObject({ url, status: 503, error: "status 503", ms: expect.any(Number) });
  expect(calls).toBe(8);
  expect(checkpoint).toEqual({ up: true, failures: 0 });
});

test("a restart repeats neither up nor the counting", async () => {
  answer = () => new Response("x", { status: 500 });
  const down = await collect(start({ failures: 3 }, { up: false, failures: 7 }), () => true);
  expect(down.events[0]).toMatchObject({ type: "probe.down", data: { failures: 8 } });
  let calls = 0;
  answer = () => new Response("x", { status: ++calls < 4 ? 200 : 500 });
  const next = await collect(start({ failures: 1 }, { up: true, failures: 0 }), () => true);
  expect(next.events[0]?.type).toBe("probe.down");
  expect(calls).toBe(4);
});

async function firstError(settings: Record<string, unknown>): Promise<string> {
  const { events } = await collect(start({ failures: 1, ...settings }), () => true);
  return events[0]?.type === "probe.up" ? "up" : (events[0]?.data as { error: string }).error;
}

test("each way to fail has its reason", async () => {
  const closed = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket) => void socket.end() },
  });
  const closedUrl = `http://127.0.0.1:${closed.port}/`;
  expect(await firstError({ url: closedUrl })).toBe("connection closed without an answer");
  closed.stop(true);
  expect(await firstError({ url: closedUrl })).toBe("connection refused");
  expect(await firstError({ contains: "goodbye" })).toContain("does not contain");
  expect(await firstError({ contains: "hello" })).toBe("up");
  const release = Promise.withResolvers<Response>();
  answer = () => release.promise;
  expect(await firstError({ timeout: "50ms" })).toBe("no answer within 50 ms");
  release.resolve(new Response());
});

test("redirects are not followed, expect takes numbers and ranges", async () => {
  answer = () => Response.redirect("http://127.0.0.1:1/", 302);
  expect(await firstError({})).toBe("up");
  expect(await firstError({ expect: 200 })).toBe("status 302");
  expect(await firstError({ expect: [200, "300-303"] })).toBe("up");
});

test("an endless answer is read in part only", async () => {
  let sent = 0;
  answer = () =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          sent += 16_384;
          controller.enqueue(new Uint8Array(16_384));
          await Bun.sleep(0);
        },
      }),
    );
  expect(await firstError({ contains: "never" })).toContain("does not contain");
  expect(sent).toBeLessThan(50_000_000);
});

test("settings", () => {
  const good = (settings: object) => v.safeParse(httpProbe.settings, settings).success;
  expect(good({ url: "http://localhost" })).toBe(true);
  expect(good({ url: "file:///etc/passwd" })).toBe(false);
  expect(good({ url: "http://localhost", expect: "2xx" })).toBe(false);
  expect(good({ url: "http://localhost", every: "soon" })).toBe(false);
});
