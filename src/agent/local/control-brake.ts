import * as v from "valibot";
import { isDuration, parseDuration } from "../../core/duration.ts";
import { HoldfastError } from "../../core/errors.ts";
import { MAX_BRAKE_MS, MAX_BRAKE_REASON } from "../../model/brake.ts";
import { brakeView } from "./brake-view.ts";
import type { ControlPorts } from "./control-ports.ts";
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
