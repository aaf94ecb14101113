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
