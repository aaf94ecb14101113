import type { Launcher } from "../src/agent/workers/launch.ts";
import { openLauncher } from "../src/agent/workers/open-launcher.ts";
import { probeKernel } from "../src/agent/workers/sandbox/probe.ts";
import type { GrantFor } from "../src/agent/workers/worker-maker.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { silentLogger } from "../src/core/logger.ts";
import { bareGrant, type Grant } from "../src/model/grant.ts";
import { DEFAULT_RESOURCES } from "../src/model/permissions.ts";

/** What a worker may use in a benchmark: more than the default, so that its share of the processor is not what is measured. */
export const BENCH_GRANT: Grant = bareGrant({ ...DEFAULT_RESOURCES, cpu: 4 });

/** Confinement as the agent uses it, by the compiled executable. */
export async function confinedBy(
  executable: string,
  workdir: string,
): Promise<{ launcher: Launcher; grantFor: GrantFor }> {
  const { launcher } = await openLauncher({
    kernel: await probeKernel([executable]),
    workdir,
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    self: { command: [executable], code: [] },
  });
  return { launcher, grantFor: grantAlways };
}

export const grantAlways: GrantFor = () => ({
  kind: "granted",
  grant: BENCH_GRANT,
  strict: false,
  create: [],
  needsHiding: false,
});
