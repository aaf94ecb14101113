import { expect, test } from "bun:test";
import { type Duplex, PassThrough } from "node:stream";
import { createFetch } from "./host-fetch.ts";

test("an abort ends a request whose connection never comes, and closes one that comes late", async () => {
  const connection = Promise.withResolvers<Duplex>();
  const asked = Promise.withResolvers<void>();
  const abort = new AbortController();
  const fetch = createFetch(() => {
    asked.resolve();
    return connection.promise;
  });
  const answer = fetch("http://slow.test/", { signal: abort.signal });
  await asked.promise;
  abort.abort(new Error("no time left"));
  expect(answer).rejects.toThrow("no time left");
  await answer.catch(() => {});

  const late = new PassThrough();
  connection.resolve(late);
  await connection.promise;
  await Promise.resolve();
  expect(late.destroyed).toBe(true);
});

test("a connection that is refused says why", async () => {
  const fetch = createFetch(() => Promise.reject(new Error("denied: network example.org:80")));
  await expect(fetch("http://example.org/")).rejects.toThrow("denied: network example.org:80");
});
