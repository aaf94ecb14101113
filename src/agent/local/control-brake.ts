import * as v from "valibot";
import { isDuration, parseDuration } from "../../core/duration.ts";
import { HoldfastError } from "../../core/errors.ts";
import { isoTime } from "../../core/iso-time.ts";
import { MAX_BRAKE_MS, MAX_BRAKE_REASON } from "../../model/brake.ts";
import type { ControlBrake, ControlPorts } from "./control-ports.ts";
import type { ControlRoutes } from "./control-request.ts";

const onSchema = v.strictObject({
  reason: v.optional(v.pipe(v.string(), v.maxLength(MAX_BRAKE_REASON)), ""),
  for: v.optional(v.pipe(v.string(), v.check(isDuration, "a duration, like 30m or 2h"))),
});

/** The brake: on, off, and what it holds back. */
export function brakeRoutes({ brake, held, clock }: ControlPorts): ControlRoutes {
  const view = () => brakeView(brake.state(), held(), { wallMs: clock.wall(), trustedMs: clock.trusted() });
  return {
    "/v1/brake": {
      GET: view,
      async POST(request) {
        const { by } = request.caller();
        const asked = await request.body(onSchema);
        const forMs = asked.for === undefined ? null : parseDuration(asked.for);
        if (forMs !== null && (forMs < 1 || forMs > MAX_BRAKE_MS))
          throw new HoldfastError("invalid", "a brake is set for 366d at most; without a time it stays on");
        await brake.on({ by, reason: asked.reason.trim(), forMs });
        return view();
      },
      async DELETE(request) {
        const { by } = request.caller();
        const released = await brake.off(by);
        return { ...view(), released };
      },
    },
  };
}

/** Times are RFC 3339, by the host's clock as it is now. */
export function brakeView(
  { on, set, windows }: ReturnType<ControlBrake["state"]>,
  held: { runs: number; steps: number },
  { wallMs, trustedMs }: { wallMs: number; trustedMs: number },
) {
  const shown = (untilMs: number) => isoTime(wallMs + untilMs - trustedMs);
  const over = set !== null && set.untilMs !== null && set.untilMs <= trustedMs;
  return {
    on,
    by: set === null || over ? null : set.by,
    reason: set === null || over ? null : set.reason,
    since: set === null || over ? null : isoTime(set.sinceMs),
    until: set === null || over || set.untilMs === null ? null : shown(set.untilMs),
    maintenance: windows.map(({ name, untilMs }) => ({ name, until: shown(untilMs) })),
    held,
  };
}
