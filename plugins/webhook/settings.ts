import { size, v } from "../../src/sdk/holdfast.ts";

const MAX_BODY = 128 * 1024;

const path = v.pipe(v.string(), v.regex(/^\//, "an absolute path"));

/** Why a pattern is none; null when it is one. The engine is large: it is loaded for a pattern only. */
function patternProblem(pattern: string): string | null {
  const { re2 } = require("../../src/sdk/re2.ts") as typeof import("../../src/sdk/re2.ts");
  try {
    re2(pattern);
    return null;
  } catch (error) {
    return `it is no regular expression (RE2): ${error instanceof Error ? error.message : String(error)}`;
  }
}

const pattern = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(1000),
  v.check(
    (text) => patternProblem(text) === null,
    (issue) => patternProblem(issue.input)!,
  ),
);

const hook = v.strictObject({
  path: v.pipe(v.string(), v.regex(/^\/[\w./~-]{0,99}$/, "a path like /deploy")),
  type: v.optional(v.pipe(v.string(), v.regex(/^[\w.:/-]{1,256}$/, "an event type")), "webhook.received"),
  pattern: v.optional(pattern),
  field: v.optional(v.pipe(v.string(), v.regex(/^[\w-]+(\.[\w-]+)*$/, "a place like message.text"))),
});

const tls = v.strictObject({
  cert: v.pipe(path, v.description("File with the certificate, and those between it and the root")),
  key: v.pipe(
    v.string(),
    v.regex(/^(\/|-----BEGIN )/, "an absolute path, or ${{ secrets.NAME }} that holds the key"),
    v.description("File with its key, or the key itself from the secrets"),
  ),
});

const fields = v.strictObject({
  port: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1),
    v.maxValue(65_535),
    v.description("Port to listen on"),
  ),
  address: v.pipe(
    v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(253)), "127.0.0.1"),
    v.description("Address to listen on; another than loopback needs `tls`"),
  ),
  tls: v.pipe(v.optional(tls), v.description("Certificate and key, for HTTPS")),
  auth: v.pipe(
    v.picklist(["bearer", "hmac"]),
    v.description("What a call must bring: the secret itself, or a signature made with it"),
  ),
  secret: v.pipe(
    v.optional(v.pipe(v.string(), v.minLength(1))),
    v.description("The secret, one a line: `${{ secrets.NAME }}`"),
  ),
  secret_file: v.pipe(
    v.optional(path),
    v.description("File with the secret, one a line, instead of `secret`"),
  ),
  hooks: v.pipe(
    v.optional(v.pipe(v.array(hook), v.minLength(1), v.maxLength(100)), [{ path: "/" }]),
    v.description("Paths that take calls, each with its event type and pattern"),
  ),
  max_body: v.pipe(
    size("64KB"),
    v.check((bytes) => bytes >= 1 && bytes <= MAX_BODY, "128KB at most"),
    v.description("Largest body"),
  ),
  rate: v.pipe(
    v.optional(v.pipe(v.number(), v.minValue(0.1), v.maxValue(10_000)), 10),
    v.description("Calls a second that are taken"),
  ),
  burst: v.pipe(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000)), 100),
    v.description("Calls that may come at once"),
  ),
});

const LOOPBACK = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|\[::1\]|localhost)$/;

export const settings = v.pipe(
  fields,
  v.forward(
    v.partialCheck(
      [["secret"], ["secret_file"]],
      ({ secret, secret_file: file }) => (secret === undefined) !== (file === undefined),
      "one of secret and secret_file is needed, and not both",
    ),
    ["secret"],
  ),
  v.forward(
    v.partialCheck(
      [["address"], ["tls"]],
      ({ address, tls: given }) => given !== undefined || LOOPBACK.test(address),
      "plain HTTP is for loopback only: give tls its cert and key, or listen on 127.0.0.1 with a proxy before it",
    ),
    ["address"],
  ),
  v.forward(
    v.partialCheck(
      [["hooks"]],
      ({ hooks }) => new Set(hooks.map((each) => each.path)).size === hooks.length,
      "two hooks have the same path",
    ),
    ["hooks"],
  ),
);
