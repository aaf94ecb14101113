/** The beginning of an envelope as JSON.stringify writes it, when nothing in it needs an escape. */
function head(source: string, id: string, type: string): string {
  return `{"specversion":"1.0","id":"${id}","source":"${source}","type":"${type}"`;
}

/**
 * What of an event's JSON is stored: without its head when that can be put back from the columns byte for byte (a third of
 * a small event), else all of it. What is stored tells which: only a whole envelope begins with `{`.
 */
export function storedBody(source: string, id: string, type: string, body: string): string {
  const start = head(source, id, type);
  const next = body.charCodeAt(start.length);
  return (next === 0x2c || next === 0x7d) && body.startsWith(start) ? body.substring(start.length) : body;
}

/** The event's JSON, exactly as it was committed. */
export function wholeBody(source: string, id: string, type: string, stored: string): string {
  return stored.startsWith("{") ? stored : head(source, id, type) + stored;
}
