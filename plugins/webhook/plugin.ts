import { readFile } from "node:fs/promises";
import { defineTrigger, size, v } from "../../src/sdk/holdfast.ts";
import { readSecrets } from "./authenticate.ts";
import { openHooks } from "./hooks.ts";
import { Inbox } from "./inbox.ts";
import { startServer } from "./server.ts";

/** Events that have come and are not kept yet. */
const MAX_WAITING = 128;
const MAX_BODY = 128 * 1024;

const hook = v.strictObject({
  path: v.pipe(v.string(), v.regex(/^\/[\w./~-]{0,99}$/, "a path like /deploy")),
  type: v.optional(v.pipe(v.string(), v.regex(/^[\w.:/-]{1,256}$/, "an event type")), "webhook.received"),
  pattern: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(1000))),
  field: v.optional(v.pipe(v.string(), v.regex(/^[\w-]+(\.[\w-]+)*$/, "a place like message.text"))),
});

const settings = v.strictObject({
  port: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1),
    v.maxValue(65_535),
    v.description("Port to listen on"),
  ),
  address: v.pipe(v.optional(v.string(), "127.0.0.1"), v.description("Address to listen on")),
  auth: v.pipe(
    v.picklist(["bearer", "hmac"]),
    v.description("What a call must bring: the secret itself, or a signature made with it"),
  ),
  secret_file: v.pipe(
    v.string(),
    v.regex(/^\//, "an absolute path"),
    v.description("File with the secret, one a line"),
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

export default defineTrigger({
  name: "webhook",
  description: "Emits an event for each call of a web hook that proves itself",
  settings,
  permissions: { listen: ["${settings.port}"], read: ["${settings.secret_file}"] },
  async *run({ settings, clock, log, signal }) {
    const { secret_file: file, max_body: maxBody } = settings;
    const secrets = readSecrets(await readFile(file, "utf8"), file);
    const hooks = await openHooks(settings.hooks);
    const inbox = new Inbox(MAX_WAITING);
    const server = startServer({ ...settings, secrets, hooks, maxBody, inbox, clock, log });
    try {
      yield* inbox.emits(signal);
    } finally {
      await server.stop();
    }
  },
});
