import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { isSize, parseSize } from "../core/size.ts";
import { described, duration, size } from "./config-fields.ts";

const MINUTE_MS = 60_000;
/** More than what may be on its way, which is never given up. */
const LEAST_ROWS = 10_000;
const LEAST_OUTBOX = 8 * 1024 * 1024;
const LEAST_RATE = 16 * 1024;

const atLeast = (bytes: number, text: string) =>
  v.pipe(
    size,
    v.check((given) => !isSize(given) || parseSize(given) >= bytes, text),
  );

/** How rows go to the hub. */
export const syncSection = v.optional(
  v.strictObject({
    backlog: described(
      v.optional(
        v.strictObject({
          rate: described(
            v.optional(atLeast(LEAST_RATE, "16KB or more"), "1MB"),
            "Bytes a second at most, beside fresh rows; the hub may ask for less",
          ),
        }),
        {},
      ),
      "What had gathered while the hub was away",
    ),
    outbox: described(
      v.optional(
        v.strictObject({
          rows: described(
            v.optional(
              v.pipe(v.number(), v.integer(), v.minValue(LEAST_ROWS), v.maxValue(1_000_000_000)),
              5_000_000,
            ),
            "Rows at most, of all lanes",
          ),
          size: described(
            v.optional(atLeast(LEAST_OUTBOX, "8MB or more"), "1GB"),
            "Bytes at most, and no more than half of what the store may have",
          ),
        }),
        {},
      ),
      "What may wait for the hub: beyond it the oldest rows of the lowest lane are given up, and told as lost",
    ),
    keep: described(
      v.optional(
        v.strictObject({
          age: described(
            v.optional(
              v.pipe(
                duration,
                v.check((text) => !isDuration(text) || parseDuration(text) >= MINUTE_MS, "1m or more"),
              ),
              "24h",
            ),
            "For how long after the hub has acknowledged them",
          ),
          size: described(
            v.optional(size, "64MB"),
            "How much of them at most, and no more than an eighth of what the store may have",
          ),
        }),
        {},
      ),
      "Rows that the hub has, for a hub that is restored from a backup",
    ),
  }),
  {},
);
