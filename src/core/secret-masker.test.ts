import { expect, test } from "bun:test";
import { SecretMasker } from "./secret-masker.ts";

const SECRETS = [
  "s3cr3t-Value!",
  'quote " and \\ back',
  "pässwörd ünd mehr",
  "a+b/c=d&e?f",
  "six666",
  "  spaced out  ",
];

function masking(...values: string[]): SecretMasker {
  const masker = new SecretMasker();
  for (const value of values) masker.add(value);
  return masker;
}

test.each(SECRETS)("%s is found in every form", (secret) => {
  const masker = masking(secret);
  const url = encodeURIComponent(secret);
  const texts: string[] = [
    ...[
      secret,
      `before ${secret} after`,
      JSON.stringify({ a: secret }),
      JSON.stringify(JSON.stringify([secret])),
    ],
    ...[
      url,
      url.replace(/%../g, (escape) => escape.toLowerCase()),
      new URLSearchParams({ k: secret }).toString(),
    ],
    ...[Buffer.from(secret).toString("hex"), Buffer.from(secret).toString("hex").toUpperCase()],
  ];
  for (const text of texts) {
    const masked = masker.mask(text);
    expect(masked).toContain("***");
    for (const form of [secret, JSON.stringify(secret).slice(1, -1)]) expect(masked).not.toContain(form);
  }
});

test("in base64 wherever it stands in what was encoded", () => {
  const secret = "correct horse battery";
  const masker = masking(secret);
  for (const before of ["", "u", "us", "use", "user:"])
    for (const after of ["", ":", "::", "\n"])
      for (const form of ["base64", "base64url"] as const) {
        const masked = masker.mask(Buffer.from(before + secret + after).toString(form));
        // What is left of it does not tell more than two characters at either end.
        const left = Buffer.from(masked.replace("***", ""), form).toString("latin1");
        expect(masked, `${before}|${after}`).toContain("***");
        expect(left).not.toContain("horse");
      }
});

test("each line of a key", () => {
  const key = "-----BEGIN KEY-----\nMIIabcdefghij\nklmnopqrstuv\n-----END KEY-----\n";
  expect(masking(key).mask("it said klmnopqrstuv")).toBe("it said ***");
});

test("what is short or unknown stays; JSON stays JSON", () => {
  expect(masking("abc", "").mask("abc")).toBe("abc");
  expect(masking("another").mask("s3cr3t")).toBe("s3cr3t");
  const masker = masking(...SECRETS, "ends with \\");
  const line = JSON.stringify({ ...SECRETS, last: "ends with \\", n: 1 });
  expect(JSON.parse(masker.mask(line))).toMatchObject({ "0": "***", last: "***", n: 1 });
});

test("values deep down, and keys", () => {
  const masker = masking("s3cr3t-Value");
  expect<unknown>(masker.maskValue({ a: [{ "x s3cr3t-Value": "s3cr3t-Value", n: 5, no: null }] })).toEqual({
    a: [{ "x ***": "***", n: 5, no: null }],
  });
  const value = { a: 1 };
  expect(new SecretMasker().maskValue(value)).toBe(value);
  let deep: unknown = "s3cr3t-Value";
  for (let level = 0; level < 200; level++) deep = [deep];
  expect(JSON.stringify(masker.maskValue(deep))).not.toContain("s3cr3t-Value");
  const lines: string[] = [];
  masker.sink({ write: (line) => void lines.push(line) }).write("s3cr3t-Value", "info");
  expect(lines).toEqual(["***"]);
});

test("the beginning of one where a text was cut, and only there", () => {
  const secret = 'tök3n-of "many" characters/and+more';
  const masker = masking(secret);
  for (let length = 0; length <= secret.length; length++) {
    const cut = `said: ${secret.slice(0, length)}`;
    const masked = masker.mask(`${cut}… (9000 bytes, cut)`);
    expect(masked, String(length)).toBe(`${length < 6 ? cut : "said: ***"}… (9000 bytes, cut)`);
    const value = { head: [cut], raw_output: cut, truncated: true, deep: { truncated: true, line: cut } };
    const shown = length < 6 ? cut : "said: ***";
    expect(masker.maskValue(value).raw_output, String(length)).toBe(shown);
    expect(masker.maskValue({ inner: value }).inner.deep.line).toBe(shown);
    // A text that only begins like a secret is not a part of one.
    if (length < secret.length) expect(masker.mask(cut)).toBe(cut);
    if (length < secret.length) expect(masker.maskValue({ raw_output: cut })).toEqual({ raw_output: cut });
    for (const form of [
      encodeURIComponent(secret),
      Buffer.from(secret).toString("hex"),
      JSON.stringify(secret),
    ]) {
      const left = masker.mask(`x ${form.slice(0, length)}…`);
      expect(left.length, form.slice(0, length)).toBeLessThanOrEqual("x ***…".length + 5);
    }
  }
  const bytes = Buffer.from(`x ${secret}`);
  // In the middle of a character.
  const broken = bytes.subarray(0, 4).toString("utf8");
  expect(masking("täglich-neu").mask(`${Buffer.from("täglich-neu").subarray(0, 9).toString("utf8")}…`)).toBe(
    "***…",
  );
  expect(broken).toEndWith("\ufffd");
  expect(masking("ünü-ünü-ünü").mask(`${Buffer.from("ünü-ünü-ünü").subarray(0, 13).toString("utf8")}…`)).toBe(
    "***…",
  );
});

test("a cut costs little, whatever was handed out", () => {
  const masker = masking("a".repeat(60_000), `${"a".repeat(60_000)}b`);
  const text = `${"a".repeat(100_000)}c…`;
  const began = performance.now();
  masker.mask(text);
  expect(performance.now() - began).toBeLessThan(20_000);
});
