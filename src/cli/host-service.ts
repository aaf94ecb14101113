import { readFileSync, statSync } from "node:fs";
import { type ArgsDef, defineCommand } from "citty";
import { parseYaml } from "../agent/config/parse-yaml.ts";
import { readConfigText } from "../agent/config/read-text.ts";
import { Report } from "../agent/config/report.ts";
import { checkSchema } from "../agent/config/schema-problems.ts";
import { openAuditLog } from "../agent/host-operations/audit-log.ts";
import { entryProblem } from "../agent/host-operations/authorize.ts";
import { createHostOperations } from "../agent/host-operations/host-operations.ts";
import { openKernelCalls } from "../agent/host-operations/kernel-calls.ts";
import { createPerformer } from "../agent/host-operations/perform.ts";
import { findPrograms } from "../agent/host-operations/programs.ts";
import { RateLimit } from "../agent/host-operations/rate-limit.ts";
import { type AllowList, allowListSchema, resolveUsers } from "../agent/host-service/allow-list.ts";
import { startHostService } from "../agent/host-service/host-service.ts";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { createLogger } from "../core/logger.ts";
import { formatProblem } from "../model/config-problem.ts";
import { stopSignal } from "./stop-signal.ts";
import { checkArguments } from "./strict-args.ts";

/** First descriptor that systemd hands over (sd_listen_fds(3)). */
const FIRST_LISTEN_FD = 3;

const args = {
  socket: {
    type: "string",
    default: "/run/holdfast/host.sock",
    description: "Unix socket to make; not used when systemd hands one over",
  },
  allow: {
    type: "string",
    default: "/etc/holdfast/host-operations.yaml",
    description: "Who may ask, and for which operations",
  },
  audit: {
    type: "string",
    default: "/var/log/holdfast/host-operations.jsonl",
    description: "Every request, as JSON lines",
  },
} as const satisfies ArgsDef;

export const hostService = defineCommand({
  meta: {
    name: "host-service",
    description:
      "Do host operations as root for an agent that is not\n\nExample: holdfast host-service --allow /etc/holdfast/host-operations.yaml",
  },
  args,
  async run(context) {
    checkArguments(args, context.args);
    const { socket, allow, audit: auditPath } = context.args;
    const allowed = await loadAllowList(allow);
    const clock = systemClock();
    const wall = () => clock.wall();
    const stderr = { write: (line: string) => void process.stderr.write(`${line}\n`) };
    const log = createLogger({ sinks: [stderr], level: () => "info", wall }, "host-service");
    const kernel = openKernelCalls();
    const limit = new RateLimit(clock);
    const audit = openAuditLog({ path: auditPath, clock });
    const run = createPerformer({
      programs: findPrograms(),
      kernel,
      clock,
      // There is nobody behind us to ask: what this user may not, the kernel says.
      rights: () => true,
      // The one that asks is the agent: it and its workers get no signals.
      protectedTrees: ({ peer }) => [process.pid, ...(peer === undefined ? [] : [peer.pid])],
    });
    const policy = () => ({ host: { operations: allowed.operations, simulate: allowed.simulate } });
    const operations = createHostOperations({ policy, run, service: null, audit, clock, log, limit });
    const service = await startHostService(listenPlace(socket), {
      clock,
      log,
      peerOf: (fd) => kernel.peerOf(fd),
      isAllowed: (uid) => allowed.uids.has(uid),
      mayAsk: (uid) => limit.take(`uid ${uid}`),
      perform: ({ by, operation, arguments: given }, peer) =>
        operations.perform({
          by: { ...by, peer },
          grant: { host: allowed.operations },
          operation,
          arguments: given,
        }),
      refused: (peer, reason) =>
        audit.record({ uid: peer?.uid ?? null, pid: peer?.pid ?? null, allowed: false, reason }),
    });
    if (process.getuid?.() !== 0) log.warn("not root: most operations will fail");
    log.info("ready", { uids: [...allowed.uids], operations: allowed.operations });
    log.info("stopping", { reason: await stopSignal(process.env) });
    await service.close();
    await audit.close();
    process.exit();
  },
});

/** systemd tells by LISTEN_PID that the descriptors are for us and not for a parent that handed its environment on. */
function listenPlace(path: string): { path: string } | { fd: number } {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  if (LISTEN_FDS === undefined || Number(LISTEN_PID) !== process.pid) return { path };
  if (LISTEN_FDS === "1") return { fd: FIRST_LISTEN_FD };
  throw new HoldfastError("invalid", `systemd hands over ${LISTEN_FDS} sockets, and this service takes one`);
}

/** Throws `invalid` with every problem and its place: a service that runs as root starts with nothing half understood. */
async function loadAllowList(file: string): Promise<AllowList> {
  const read = await readConfigText(file);
  if ("problem" in read) throw bad(formatProblem(read.problem));
  checkOwner(file);
  const { root, problems } = parseYaml(read.text, file);
  if (root === null) throw bad(...problems.map(formatProblem));
  const report = new Report(root);
  const checked = checkSchema(allowListSchema(entryProblem), root, report);
  if (checked === null) throw bad(...report.problems.map(formatProblem));
  const { list, unknown } = resolveUsers(checked, readFileSync("/etc/passwd", "utf8"));
  for (const name of unknown) {
    report.value(["users", checked.users.indexOf(name)], "this host has no such user in /etc/passwd");
  }
  if (unknown.length > 0) throw bad(...report.problems.map(formatProblem));
  return list;
}

/** Whoever may write the list may be root. */
function checkOwner(file: string): void {
  const { uid, mode } = statSync(file);
  if (uid !== 0 && uid !== process.getuid?.()) throw bad(`${file} belongs to uid ${uid}: it must be root's`);
  if ((mode & 0o022) !== 0) throw bad(`${file} may be written by others: chmod 0644 ${file}`);
}

function bad(...lines: string[]): HoldfastError {
  return new HoldfastError("invalid", `the allow list is not in order:\n${lines.join("\n")}`);
}
