import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { agentHome } from "../../agent/config/home.ts";
import type { Clock } from "../../core/clock.ts";
import type { HubClient } from "../client/client.ts";

export interface EnrollHereOptions {
  base: string;
  home: ReturnType<typeof agentHome>;
  client: HubClient;
  hubUrl: string;
  clock: Clock;
}

/** Enrolls the agent at the hub beside it, unless it has its certificate already. */
export async function enrollHere({ base, home, client, hubUrl, clock }: EnrollHereOptions): Promise<void> {
  if (await Bun.file(home.certificateFile).exists()) return;
  const { token } = await client.createJoinToken({ uses: 1, ttl: "10m" });
  const { enrollAgent } = await import("../../agent/enrollment/enroll.ts");
  await enrollAgent({
    url: hubUrl,
    token,
    pin: pinOf(join(base, "hub", "certificates", "ca.crt")),
    id: home.id,
    labels: {},
    directory: home.certificates,
    clock,
  });
}

/** `sha256:` and the SHA-256 of the certificate's public key (SPKI), as `hub init` prints it. */
function pinOf(caFile: string): string {
  const key = new X509Certificate(readFileSync(caFile)).publicKey.export({ type: "spki", format: "der" });
  return `sha256:${createHash("sha256").update(key).digest("hex")}`;
}
