/** Bytes of an answer that are looked at. */
const MAX_BODY = 64 * 1024;

export interface ProbeRequest {
  url: string;
  method: string;
  timeout: number;
  expect: number | string | (number | string)[];
  contains?: string | undefined;
}

export interface ProbeResult {
  status: number | null;
  /** Why it counts as failed; null is a success. */
  error: string | null;
}

/** One check. Redirects are answers like others: where they lead to says nothing about this address. */
export async function probe(request: ProbeRequest, signal: AbortSignal): Promise<ProbeResult> {
  const deadline = AbortSignal.timeout(request.timeout);
  try {
    const response = await fetch(request.url, {
      method: request.method,
      redirect: "manual",
      keepalive: false,
      headers: { "user-agent": "holdfast-probe", connection: "close" },
      signal: AbortSignal.any([deadline, signal]),
    });
    const text = await readHead(response);
    return { status: response.status, error: judge(request, response.status, text) };
  } catch (error) {
    if (deadline.aborted) return { status: null, error: `no answer within ${request.timeout} ms` };
    return { status: null, error: reasonOf(error) };
  }
}

function judge({ expect, contains }: ProbeRequest, status: number, text: string): string | null {
  if (![expect].flat().some((item) => accepts(item, status))) return `status ${status}`;
  if (contains !== undefined && !text.includes(contains)) return `the answer does not contain "${contains}"`;
  return null;
}

function accepts(item: number | string, status: number): boolean {
  if (typeof item === "number") return status === item;
  const [low, high] = item.split("-").map(Number) as [number, number];
  return status >= low && status <= high;
}

async function readHead(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return "";
  const decoder = new TextDecoder();
  let text = "";
  for (let taken = 0; taken < MAX_BODY;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value.subarray(0, MAX_BODY - taken), { stream: true });
    taken += value.length;
  }
  void reader.cancel().catch(() => {});
  return text;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const reasons: Record<string, string> = {
    ECONNREFUSED: "connection refused",
    ConnectionRefused: "connection refused",
    ENOTFOUND: "the name does not resolve",
    ECONNRESET: "connection closed without an answer",
  };
  return reasons[String(code)] ?? String(message ?? error).slice(0, 300);
}
