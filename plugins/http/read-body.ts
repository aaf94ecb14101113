import type { Json } from "../../src/sdk/holdfast.ts";

/** Bytes of an answer that are kept. */
const MAX_BODY = 256 * 1024;

/** An answer's body: JSON where it says so and is, else text; cut at 256 KB. */
export async function readBody(response: Response): Promise<{ value: Json; truncated: boolean }> {
  const { bytes, truncated } = await readHead(response);
  if (bytes.length === 0) return { value: null, truncated };
  const text = new TextDecoder().decode(bytes, { stream: truncated });
  const isJson = /^application\/(?:[\w.-]+\+)?json\b/i.test(response.headers.get("content-type") ?? "");
  return { value: isJson && !truncated ? parse(text) : text, truncated };
}

async function readHead(response: Response): Promise<{ bytes: Uint8Array; truncated: boolean }> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array[] = [];
  let taken = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    if (taken + value.length > MAX_BODY) {
      chunks.push(value.subarray(0, MAX_BODY - taken));
      void reader.cancel().catch(() => {});
      return { bytes: Buffer.concat(chunks), truncated: true };
    }
    chunks.push(value);
    taken += value.length;
  }
  return { bytes: Buffer.concat(chunks), truncated: false };
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
