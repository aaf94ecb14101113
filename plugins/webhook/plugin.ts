import { readFile } from "node:fs/promises";
import { defineTrigger } from "../../src/sdk/holdfast.ts";
import { readSecrets } from "./authenticate.ts";
import { openCertificate, watchCertificate } from "./certificate.ts";
import { openHooks } from "./hooks.ts";
import { Inbox } from "./inbox.ts";
import { startServer } from "./server.ts";
import { settings } from "./settings.ts";

/** Events that have come and are not kept yet. */
const MAX_WAITING = 128;

export default defineTrigger({
  name: "webhook",
  description: "Emits an event for each call of a web hook that proves itself",
  settings,
  permissions: {
    listen: ["${settings.port}"],
    read: ["${settings.secret_file}", "${settings.tls.cert}", "${settings.tls.key}"],
    // Which ones it takes is written in the configuration; the policy can allow fewer.
    secrets: ["*"],
  },
  async *run({ settings: given, clock, log, signal }) {
    const { secret, secret_file: file, max_body: maxBody, auth } = given;
    const text = file === undefined ? secret! : await readFile(file, "utf8");
    const secrets = readSecrets(text, { from: file ?? "the setting secret", auth });
    const hooks = await openHooks(given.hooks);
    const tls = given.tls && (await openCertificate(given.tls, clock.wall()));
    const inbox = new Inbox(MAX_WAITING);
    const server = startServer({ ...given, tls, secrets, hooks, maxBody, inbox, clock, log });
    if (given.tls && tls)
      void watchCertificate({ file: given.tls.cert, expiresMs: tls.expiresMs }, { clock, log, signal });
    try {
      yield* inbox.emits(signal);
    } finally {
      await server.stop();
    }
  },
});
