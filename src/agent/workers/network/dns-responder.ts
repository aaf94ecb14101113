import type { Clock } from "../../../core/clock.ts";
import type { Endpoint } from "../../../model/grant.ts";
import { DNS_TYPE, type DnsAnswer, formatReply, parseQuestion } from "./dns-message.ts";
import { matching, readDestination } from "./endpoint-match.ts";
import type { NameTable } from "./name-table.ts";

export interface ResponderOptions {
  names: NameTable;
  /** TCP and UDP endpoints of the grant. */
  endpoints: Endpoint[];
  /** Names that the agent itself stands behind. */
  ownNames: ReadonlySet<string>;
  clock: Clock;
  /** What was refused, like `network example.org`. */
  onDenied: (what: string) => void;
}

const TTL_SECONDS = 30;
/** The connect that follows a look-up says more: it has the port. */
const PORT_WAIT_MS = 100;
const MAX_PENDING = 64;
/** What is more is dropped: a resolver asks again. */
const MAX_REPLIES_A_SECOND = 500;

/** Answers a worker's look-ups without asking anybody: every name gets an address at which the agent will be asked. */
export class DnsResponder {
  readonly #options: ResponderOptions;
  /** Names that no grant has, until a connect tells the port or nobody connects. */
  readonly #pending = new Map<string, () => void>();

  #second = 0;
  #replies = 0;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** The reply to one packet; null when it deserves none. */
  reply(packet: Buffer): Buffer | null {
    if (this.#isTooMuch()) return null;
    const question = parseQuestion(packet);
    if (!question) return null;
    const { name, type, internet } = question;
    return formatReply(question, internet ? this.#answer(name, type) : { kind: "empty" });
  }

  /** Somebody connects there: what is refused is told with its port. */
  connected(name: string): void {
    this.#pending.get(name)?.();
    this.#pending.delete(name);
  }

  /** Tells what is still waiting to be told. */
  close(): void {
    for (const name of this.#pending.keys()) this.#tell(name);
  }

  #isTooMuch(): boolean {
    const second = Math.floor(this.#options.clock.mono() / 1000);
    if (second !== this.#second) [this.#second, this.#replies] = [second, 0];
    return ++this.#replies > MAX_REPLIES_A_SECOND;
  }

  #answer(name: string, type: number): DnsAnswer {
    if (type === DNS_TYPE.PTR) return { kind: "no such name" };
    const to = readDestination(name);
    if (!to || to.address) return { kind: "no such name" };
    const { names, endpoints, ownNames } = this.#options;
    if (!ownNames.has(to.host) && matching(endpoints, to, null).length === 0) this.#tellSoon(to.host);
    if (type !== DNS_TYPE.A && type !== DNS_TYPE.ANY) return { kind: "empty" };
    const address = to.host === "localhost" ? "127.0.0.1" : names.addressOf(to.host);
    return { kind: "address", address, ttl: TTL_SECONDS };
  }

  #tellSoon(name: string): void {
    if (this.#pending.has(name) || this.#pending.size >= MAX_PENDING) return;
    this.#pending.set(
      name,
      this.#options.clock.after(PORT_WAIT_MS, () => this.#tell(name)),
    );
  }

  #tell(name: string): void {
    this.connected(name);
    this.#options.onDenied(`network ${name}`);
  }
}
