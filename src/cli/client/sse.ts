import { HoldfastError } from "../../core/errors.ts";

export interface SseMessage {
  /** The last id seen so far; empty before the first. */
  id: string;
  event: string;
  data: string;
}

const MAX_MESSAGE = 8 * 1024 * 1024;

/**
 * Reads a text/event-stream as the HTML standard says: lines end in LF, CR or CRLF, `data:` lines join with LF, an id
 * without data only moves the position. `onId` hears every id, `onRetry` the wait that the server asks for.
 */
export async function* readSse(
  chunks: AsyncIterable<Uint8Array>,
  hooks: { onId?: (id: string) => void; onRetry?: (ms: number) => void } = {},
): AsyncGenerator<SseMessage> {
  let id = "";
  let event = "";
  let data: string[] = [];
  let size = 0;
  for await (const line of lines(chunks)) {
    if (line === "") {
      hooks.onId?.(id);
      if (data.length > 0) yield { id, event: event || "message", data: data.join("\n") };
      event = "";
      data = [];
      size = 0;
      continue;
    }
    const [field, value] = splitField(line);
    if (field === "id" && !value.includes("\0")) id = value;
    if (field === "event") event = value;
    if (field === "retry" && /^\d{1,6}$/.test(value)) hooks.onRetry?.(Number(value));
    if (field === "data") {
      size += value.length;
      if (size > MAX_MESSAGE) throw tooLarge();
      data.push(value);
    }
  }
}

function splitField(line: string): [string, string] {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  const start = line[colon + 1] === " " ? colon + 2 : colon + 1;
  return [line.slice(0, colon), line.slice(start)];
}

async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    const parts = rest.split(/\r\n|\n|\r(?!$)/);
    rest = parts.pop()!;
    if (rest.length > MAX_MESSAGE) throw tooLarge();
    yield* parts;
  }
}

function tooLarge(): HoldfastError {
  return new HoldfastError("too_large", `The hub sent a live message of more than ${MAX_MESSAGE} bytes`);
}
