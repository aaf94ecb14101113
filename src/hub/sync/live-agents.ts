import { HoldfastError } from "../../core/errors.ts";

export interface LiveStream {
  end(error?: HoldfastError): void;
}

/** Which stream is the current one of each agent. */
export class LiveAgents<S extends LiveStream> {
  readonly #streams = new Map<string, S>();

  get count(): number {
    return this.#streams.size;
  }

  get(agentId: string): S | undefined {
    return this.#streams.get(agentId);
  }

  /** The newest session wins: an older one is mostly a connection whose death nobody has noticed yet. */
  enter(agentId: string, stream: S): void {
    const older = this.#streams.get(agentId);
    this.#streams.set(agentId, stream);
    older?.end(
      new HoldfastError(
        "conflict",
        `this session was replaced by a newer one of agent ${agentId}; if two hosts use this id, give one another`,
      ),
    );
  }

  /** True when the stream was the current one. */
  leave(agentId: string, stream: S): boolean {
    if (this.#streams.get(agentId) !== stream) return false;
    return this.#streams.delete(agentId);
  }

  endAll(error: HoldfastError): void {
    for (const stream of this.#streams.values()) stream.end(error);
  }
}
