import { describe, expect, test } from "bun:test";
import { createTokenVerifier } from "./tokens.ts";

const GOOD = "hfadm_0123456789abcdef";
const hashOf = (token: string) => new Bun.CryptoHasher("sha256").update(token).digest("hex");

function setUp(extra: Record<string, { name: string; role: string }> = {}) {
  const rows: Record<string, { name: string; role: string }> = {
    [hashOf(GOOD)]: { name: "first", role: "admin" },
    ...extra,
  };
  const time = { now: 0, lookups: 0 };
  const verify = createTokenVerifier({
    apiToken: (hash) => {
      time.lookups++;
      return Promise.resolve(rows[hash] ?? null);
    },
    clock: { mono: () => time.now },
    burst: 3,
    perSecond: 1,
  });
  return { verify, time, rows };
}

describe("API tokens", () => {
  test("a stored token names its caller; others are nobody", async () => {
    const { verify, time } = setUp();
    expect(await verify(GOOD)).toEqual({ name: "first", role: "admin" });
    expect(await verify(`${GOOD}x`)).toBeNull();
    expect(await verify("")).toBeNull();
    expect(time.lookups).toBe(2);
  });

  test("the hash of a token is not a token", async () => {
    expect(await setUp().verify(hashOf(GOOD))).toBeNull();
  });

  test("too many wrong tokens: unknown ones are refused without a lookup, the good one still passes", async () => {
    const { verify, time } = setUp();
    await verify(GOOD);
    for (let i = 0; i < 3; i++) expect(await verify(`wrong-token-${i}`)).toBeNull();
    const lookups = time.lookups;
    await expect(verify("wrong-token-3")).rejects.toMatchObject({ code: "exhausted" });
    expect(time.lookups).toBe(lookups);
    expect(await verify(GOOD)).toEqual({ name: "first", role: "admin" });
    time.now += 1000;
    expect(await verify("wrong-token-4")).toBeNull();
    await expect(verify("wrong-token-5")).rejects.toMatchObject({ code: "exhausted" });
  });

  test("concurrent guesses do not share a place in the bucket", async () => {
    const { verify, time } = setUp();
    const guesses = Array.from({ length: 10 }, (_, i) => verify(`wrong-token-${i}`));
    const settled = await Promise.allSettled(guesses);
    expect(settled.filter((each) => each.status === "rejected")).toHaveLength(7);
    expect(time.lookups).toBe(3);
  });

  test("a token that was taken away no longer passes", async () => {
    const { verify, rows } = setUp();
    expect(await verify(GOOD)).not.toBeNull();
    delete rows[hashOf(GOOD)];
    expect(await verify(GOOD)).toBeNull();
  });

  test("a text longer than the hashed part is no token, even where its beginning is one", async () => {
    const long = "a".repeat(1024);
    const { verify } = setUp({ [hashOf(long)]: { name: "long", role: "admin" } });
    expect(await verify(`${long}tail`)).toBeNull();
  });
});
