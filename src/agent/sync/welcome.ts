import { HoldfastError } from "../../core/errors.ts";
import type { StreamCursor } from "../../model/record.ts";
import type { Welcome } from "../../protocol/gen/holdfast/v1/sync.ts";
import { cursorOf } from "../../protocol/transport-frames.ts";

/** Streams of one epoch: a hub that tells of more means something else. */
const MAX_CURSORS = 10_000;
const MAX_ID = 64;

/** The hub's cursors, from a welcome that is checked for form. Throws `invalid`. */
export function cursorsOf({ hubId, epoch, cursors }: Welcome): StreamCursor[] {
  const problem =
    badId("id", hubId) ??
    badId("epoch", epoch) ??
    (cursors.length > MAX_CURSORS
      ? `${cursors.length} cursors, at most ${MAX_CURSORS} are taken`
      : undefined);
  if (problem !== undefined) {
    throw new HoldfastError("invalid", `the hub's welcome is malformed: ${problem}`);
  }
  return cursors.map(cursorOf);
}

function badId(what: string, id: string): string | undefined {
  if (id.length >= 1 && id.length <= MAX_ID) return undefined;
  return `its ${what} has ${id.length} characters, 1 to ${MAX_ID} are taken`;
}
