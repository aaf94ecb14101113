import { timingSafeEqual } from "node:crypto";
import * as v from "valibot";
import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import {
  type CallAnswer,
  callRequestSchema,
  type CallRequest,
  LineCutter,
  MAX_CALL_BYTES,
} from "./call-lines.ts";
import { shown } from "./objects.ts";

/** Requests of one script that are worked on at once. */
const MAX_UNANSWERED = 64;
/** Answers that the script does not fetch; over it the channel is closed. */
const MAX_UNSENT_BYTES = 8 * 1024 * 1024;

export type CallHandler = (args: JsonObject) => Promise<Json>;

export interface CallServer {
  /** The token dies with it: what is still asked gets no answer, and the descriptor is closed. */
  close(): void;
}

/**
 * Answers what a script asks through `holdfast call` on the agent's end of its socket pair, which this closes. Every byte is
 * hostile; a line that is no request is left out, because only a request has an id that can be answered.
 */
export function serveCalls(
  fd: number,
  handlers: Record<string, CallHandler>,
  options: { token: string; clock: Clock },
): CallServer {
  const server = new Server(handlers, options.token);
  void server.open(fd);
  return { close: () => server.close() };
}

class Server implements CallServer {
  readonly #handlers: Record<string, CallHandler>;
  readonly #token: Buffer;
  readonly #cutter = new LineCutter();
  #socket: Bun.Socket<undefined> | undefined;
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #unanswered = 0;
  #closed = false;

  constructor(handlers: Record<string, CallHandler>, token: string) {
    this.#handlers = handlers;
    this.#token = Buffer.from(token);
  }

  async open(fd: number): Promise<void> {
    const options = {
      fd,
      socket: {
        data: (_socket: unknown, chunk: Buffer) => this.#receive(chunk),
        drain: () => this.#write(),
        close: () => this.close(),
        error: () => this.close(),
      },
    };
    try {
      this.#socket = await Bun.connect(options as unknown as Bun.TCPSocketConnectOptions<undefined>);
    } catch {
      // The script was gone before its channel was adopted.
      this.close();
    }
    if (this.#closed) this.#socket?.terminate();
    else this.#write();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsent = [];
    this.#socket?.terminate();
  }

  #receive(chunk: Buffer): void {
    this.#cutter.push(chunk, (line) => {
      if (this.#closed || line === null) return;
      const request = parseRequest(line);
      if (request !== null) void this.#answer(request);
    });
  }

  async #answer(request: CallRequest): Promise<void> {
    this.#unanswered++;
    try {
      this.#send({ id: request.id, ok: true, result: await this.#handle(request) });
    } catch (error) {
      const { code, message } = asHoldfastError(error, request.verb);
      this.#send({ id: request.id, ok: false, error: { code, message } });
    } finally {
      this.#unanswered--;
    }
  }

  async #handle({ token, verb, args }: CallRequest): Promise<Json> {
    const given = Buffer.from(token);
    if (given.length !== this.#token.length || !timingSafeEqual(given, this.#token)) {
      throw new HoldfastError("unauthenticated", "the token is not that of this run: it dies with the run");
    }
    if (this.#unanswered > MAX_UNANSWERED) {
      throw new HoldfastError("exhausted", `${MAX_UNANSWERED} calls are under way: wait for some to end`);
    }
    if (!Object.hasOwn(this.#handlers, verb)) {
      const known = Object.keys(this.#handlers).sort().join(", ");
      throw new HoldfastError("not_found", `there is no call ${shown(verb)}; there are ${known}`);
    }
    return await this.#handlers[verb]!(args);
  }

  #send(answer: CallAnswer): void {
    if (this.#closed) return;
    const line = Buffer.from(`${JSON.stringify(answer)}\n`);
    if (answer.ok && line.length > MAX_CALL_BYTES) {
      const message = `the result has ${line.length} bytes, an answer at most ${MAX_CALL_BYTES}: ask for less`;
      return this.#send({ id: answer.id, ok: false, error: { code: "too_large", message } });
    }
    this.#unsent.push(line);
    this.#unsentBytes += line.length;
    if (this.#unsentBytes > MAX_UNSENT_BYTES) return this.close();
    if (this.#unsent.length === 1) this.#write();
  }

  #write(): void {
    while (this.#unsent.length > 0 && this.#socket !== undefined && !this.#closed) {
      const next = this.#unsent[0]!;
      const written = this.#socket.write(next);
      if (written < 0) return this.close();
      this.#unsentBytes -= written;
      if (written < next.length) {
        // The kernel took a part only; `drain` goes on with the rest.
        this.#unsent[0] = next.subarray(written);
        return;
      }
      this.#unsent.shift();
    }
  }
}

function parseRequest(line: string): CallRequest | null {
  try {
    const parsed = v.safeParse(callRequestSchema, JSON.parse(line));
    return parsed.success ? (parsed.output as CallRequest) : null;
  } catch {
    return null;
  }
}
