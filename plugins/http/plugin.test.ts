import { afterAll, beforeEach, expect, test } from "bun:test";
import { type ActionError, type Json, v } from "../../src/sdk/holdfast.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import http from "./plugin.ts";

let answer: (request: Request) => Response | Promise<Response>;
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => answer(request) });
const url = `${server.url.href}path`;
beforeEach(() => void (answer = () => Response.json({ ok: true })));
afterAll(() => server.stop(true));

const run = (settings: Record<string, unknown>, signal?: AbortSignal): Promise<Json | void> =>
  http.run(
    contextFor(http, { settings: { url, ...settings }, home: "/", ...(signal && { signal }) }).context,
  );

async function failure(settings: Record<string, unknown>, signal?: AbortSignal): Promise<ActionError> {
  return await run(settings, signal).then(
    (output) => Promise.reject(new Error(`succeeded with ${JSON.stringify(output)}`)),
    (error: unknown) => error as ActionError,
  );
}

test("GET: status, a few headers, JSON; no key", async () => {
  let key: string | null = "";
  answer = (request) => {
    key = request.headers.get("idempotency-key");
    return Response.json({ a: 1 }, { headers: { etag: '"1"', "set-cookie": "secret" } });
  };
  const output = (await run({})) as { headers: Record<string, string> };
  expect(output).toMatchObject({ status: 200, body: { a: 1 }, headers: { etag: '"1"' } });
  expect(output.headers["set-cookie"]).toBeUndefined();
  expect(key).toBeNull();
});

test("POST carries the key and JSON, or text as it is", async () => {
  const seen: unknown[] = [];
  answer = async (request) => {
    const { headers } = request;
    seen.push([
      headers.get("idempotency-key"),
      headers.get("content-type")?.split(";")[0],
      await request.text(),
    ]);
    return new Response("fine", { status: 201 });
  };
  expect(await run({ method: "POST", body: { n: 1 } })).toMatchObject({ status: 201, body: "fine" });
  await run({
    method: "PUT",
    body: "text",
    headers: { "Content-Type": "text/csv", "Idempotency-Key": "mine" },
  });
  expect(seen).toEqual([
    ["run-1/step", "application/json", '{"n":1}'],
    ["mine", "text/csv", "text"],
  ]);
});

test.each([
  ["GET", 500, { retryable: true, started: false }],
  ["POST", 500, { retryable: true, started: true }],
  ["POST", 429, { retryable: true, started: false }],
  ["POST", 400, { retryable: false, started: true }],
  ["POST", 302, { retryable: false, started: true }],
  ["GET", 404, { retryable: false, started: false, code: "not_found" }],
  ["GET", 403, { retryable: false, started: false, code: "denied" }],
])("%s answered %d", async (method, status, expected) => {
  const headers = { "retry-after": "7", location: "http://127.0.0.1:1/" };
  answer = () => new Response("because", { status, headers });
  const error = await failure({ method, url: `${url}?token=secret` });
  expect(error).toMatchObject(expected);
  expect(error.message).toContain(`answered ${status}; it asks to wait (Retry-After: 7): because`);
  expect(error.message).not.toContain("secret");
});

test("expect takes the place of 2xx", async () => {
  answer = () => new Response("", { status: 404 });
  expect(await run({ expect: [404, 410] })).toMatchObject({ status: 404, body: null });
  answer = () => new Response("", { status: 200 });
  expect((await failure({ expect: 204 })).message).toContain("answered 200");
});

test("without a connection nothing was started; a lost answer is another matter", async () => {
  const lost = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket) => void socket.end() },
  });
  const address = `http://user:password@127.0.0.1:${lost.port}/x`;
  const reset = await failure({ url: address, method: "POST" });
  expect(reset).toMatchObject({ started: true, retryable: true, code: "unreachable" });
  expect(reset.message).not.toContain("password");
  lost.stop(true);
  expect(await failure({ url: address, method: "POST" })).toMatchObject({ started: false, retryable: true });
  expect(await failure({ url: "http://no-such-name.invalid/", method: "POST" })).toMatchObject({
    started: false,
    retryable: true,
  });
});

test("time is bounded by timeout, and an abort ends it", async () => {
  const release = Promise.withResolvers<Response>();
  answer = () => release.promise;
  expect(await failure({ timeout: "50ms", method: "POST" })).toMatchObject({
    code: "timed_out",
    started: true,
  });
  const stop = new AbortController();
  const failed = failure({}, stop.signal);
  stop.abort();
  expect(await failed).toMatchObject({ code: "cancelled", started: false });
  release.resolve(new Response());
});

test("a large answer is cut at 256 KB", async () => {
  answer = () => Response.json("x".repeat(5_000_000));
  const output = (await run({})) as { body: string; truncated: boolean };
  expect(output.truncated).toBe(true);
  expect(output.body.length).toBe(256 * 1024);
  answer = () => new Response("not json", { headers: { "content-type": "application/json" } });
  expect(await run({})).toMatchObject({ body: "not json" });
});

test("what cannot be sent is refused before it is", async () => {
  expect(await failure({ body: 1 })).toMatchObject({ code: "invalid", started: false, retryable: false });
  const good = (settings: object) => v.safeParse(http.settings, { url, ...settings }).success;
  expect(good({ headers: { "x-a": "1" } })).toBe(true);
  expect(good({ headers: { "x-a": "1\r\nx-b: 2" } })).toBe(false);
  expect(good({ headers: { "x a": "1" } })).toBe(false);
  expect(good({ url: "ftp://host/" })).toBe(false);
});
