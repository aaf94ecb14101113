import * as v from "valibot";
import { isDuration, parseDuration } from "../../core/duration.ts";
import { HoldfastError } from "../../core/errors.ts";
import { isoTime } from "../../core/iso-time.ts";
import { nearest } from "../../core/nearest.ts";
import { parseTime } from "../../model/schedule-time.ts";
import {
  type Match,
  MAX_COMMENT,
  MAX_MATCHES,
  MAX_SILENCE_MS,
  matchText,
  MUTES,
  parseMatch,
} from "../../model/silence.ts";
import type { ControlPorts, ControlSilence } from "./control-ports.ts";
import type { ControlRoutes } from "./control-request.ts";

const addSchema = v.strictObject({
  match: v.pipe(
    v.array(v.pipe(v.string(), v.maxLength(600))),
    v.minLength(1, "at least one, like rule=front*"),
    v.maxLength(MAX_MATCHES),
  ),
  for: v.optional(v.pipe(v.string(), v.check(isDuration, "a duration, like 30m or 2h"))),
  until: v.optional(v.string()),
  comment: v.pipe(
    v.string(),
    v.trim(),
    v.minLength(1, "why, for whoever finds it"),
    v.maxLength(MAX_COMMENT),
  ),
  mute: v.optional(v.pipe(v.array(v.picklist(MUTES)), v.minLength(1)), [...MUTES]),
});

/** Silences and maintenance windows: what there is, new ones, and ending one. */
export function silenceRoutes({ silences, rules, clock, log }: ControlPorts): ControlRoutes {
  const view = (silence: ControlSilence) => silenceView(silence, clock.wall() - clock.trusted());
  return {
    "/v1/silences": {
      GET: () => ({ items: silences.list().map(view), next: null }),
      async POST(request) {
        const { by } = request.caller();
        const asked = await request.body(addSchema);
        const match = asked.match.map(parseMatch);
        const forMs = lengthOf(asked, clock.wall());
        const { comment, mute } = asked;
        const { id } = await silences.add({ match, mute: [...new Set(mute)], forMs, comment, by });
        log.info("silence added", { silence: id, match: matchText(match), forMs, by });
        return { ...view(silences.show(id)), note: noteOn(match, rules()) };
      },
    },
    "/v1/silences/:id": {
      GET: (request) => view(silences.show(request.part("id"))),
      async DELETE(request) {
        const { by } = request.caller();
        const { id } = await silences.end(request.part("id"), by);
        log.info("silence ended", { silence: id, by });
        return view(silences.show(id));
      },
    },
  };
}

function lengthOf(asked: { for?: string | undefined; until?: string | undefined }, wallMs: number): number {
  if ((asked.for === undefined) === (asked.until === undefined))
    throw new HoldfastError("invalid", "a silence has an end: give one of for (like 2h) and until (a time)");
  const forMs = asked.for === undefined ? parseTime(asked.until!) - wallMs : parseDuration(asked.for);
  if (forMs <= 0) throw new HoldfastError("invalid", "the end of the silence has passed already");
  if (forMs > MAX_SILENCE_MS) throw new HoldfastError("invalid", "a silence holds for 366d at most");
  return forMs;
}

/** A name without a star that no rule has is probably not the one that was meant. */
function noteOn(match: Match[], rules: { name: string }[]): string | null {
  const names = rules.map(({ name }) => name);
  const unknown = match.find(
    ({ name, pattern }) => name === "rule" && !pattern.includes("*") && !names.includes(pattern),
  );
  if (unknown === undefined) return null;
  const near = nearest(unknown.pattern, names);
  return `no rule here is called ${unknown.pattern}${near === undefined ? "" : `; did you mean ${near}?`}`;
}

/** Times are RFC 3339, by the host's clock as it is now. */
function silenceView({ match, createdMs, untilMs, ended, nextMs, ...rest }: ControlSilence, shiftMs: number) {
  return {
    ...rest,
    match: match.map(({ name, pattern }) => `${name}=${pattern}`),
    createdAt: createdMs === 0 ? null : isoTime(createdMs),
    until: untilMs === null ? null : isoTime(untilMs + shiftMs),
    endedBy: ended?.by ?? null,
    endedAt: ended === null ? null : isoTime(ended.atMs),
    nextAt: nextMs === null ? null : isoTime(nextMs),
  };
}
