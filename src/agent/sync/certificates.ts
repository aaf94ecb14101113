import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";

/** What enrollment left in `config/certificates`, PEM. */
export interface AgentCertificates {
  ca: string;
  identity: { key: string; certificate: string };
}

/** Read at each connect, so that a renewed or newly enrolled certificate is used without a restart. */
export async function readCertificates(directory: string): Promise<AgentCertificates> {
  const [ca, certificate, key] = await Promise.all(
    ["ca.crt", "agent.crt", "agent.key"].map((name) => readPem(join(directory, name))),
  );
  return { ca: ca!, identity: { key: key!, certificate: certificate! } };
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") {
      throw new HoldfastError(
        "unauthenticated",
        `this agent is not enrolled (${path} is missing): run "holdfast agent enroll" with a join token of the hub`,
      );
    }
    throw new HoldfastError("failed", `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}
