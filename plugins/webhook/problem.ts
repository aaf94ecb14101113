const TITLES: Record<number, string> = {
  400: "Bad request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not found",
  405: "Method not allowed",
  408: "Request timeout",
  413: "Content too large",
  429: "Too many requests",
  503: "Service unavailable",
};

/** A refusal as problem details (RFC 9457). */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, detail: string, headers: Record<string, string> = {}) {
    super(detail);
    this.status = status;
    this.headers = headers;
  }

  response(): Response {
    const { status, message: detail, headers } = this;
    const body = { type: "about:blank", title: TITLES[status] ?? "Error", status, detail };
    // The connection may still bring a body that nobody reads.
    return new Response(JSON.stringify(body), {
      status,
      headers: { "content-type": "application/problem+json", connection: "close", ...headers },
    });
  }
}
