import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { isSize, parseSize } from "../core/size.ts";
import { count, described, duration, size } from "./config-fields.ts";

const MINUTE_MS = 60_000;
const LEAST_BYTES = 64 * 1024 ** 2;
const LEAST = "64MB or more";

/** How many rows of a table are kept, and for how long. */
const cap = (what: string, keep: { default: number; most: number }, age: string) =>
  described(
    v.optional(
      v.strictObject({
        keep: described(v.optional(count(keep.most), keep.default), "How many at most"),
        age: described(
          v.optional(
            v.pipe(
              duration,
              v.check((text) => !isDuration(text) || parseDuration(text) >= MINUTE_MS, "1m or more"),
            ),
            age,
          ),
          "For how long; at most a tenth goes by it in an hour, whatever the clocks say",
        ),
      }),
      {},
    ),
    what,
  );

export const historySection = v.optional(
  v.strictObject({
    events: cap("Events that were committed", { default: 26_000_000, most: 1_000_000_000 }, "30d"),
    runs: cap("Runs that have ended, with their steps", { default: 100_000, most: 10_000_000 }, "30d"),
    findings: cap("Findings that are resolved", { default: 10_000, most: 100_000 }, "90d"),
    dead_letters: cap(
      "Runs that ended badly and wait to be looked at",
      { default: 10_000, most: 100_000 },
      "90d",
    ),
    size: described(
      v.optional(
        v.pipe(
          size,
          v.check((text) => !isSize(text) || parseSize(text) >= LEAST_BYTES, LEAST),
        ),
        "2GB",
      ),
      "The store's file with its log, and no more than three quarters of limits.disk: above it the oldest events go, then ended runs",
    ),
  }),
  {},
);
