import { HoldfastError, messageOf } from "../../../core/errors.ts";
import { ChannelStream, type NetFrame } from "./channel-stream.ts";
import type { Carrier } from "./pump.ts";
import type { Connections } from "./connections.ts";
import { parseNetFrame } from "./net-frame.ts";

/** The agent's side of connections over a worker's channel. */
export interface ChannelNetwork {
  /** Takes a frame `net_…` of the worker. Throws `invalid`: then the worker is given up. */
  receive(frame: unknown, send: (frame: NetFrame) => void): void;
  close(): void;
}

export function channelNetwork(
  connections: Connections,
  open: (host: string, port: number) => Promise<Carrier>,
): ChannelNetwork {
  const streams = new Map<number, ChannelStream>();
  const start = (
    { id, host, port }: Extract<NetFrame, { kind: "net_open" }>,
    send: (frame: NetFrame) => void,
  ) => {
    if (streams.has(id)) throw new HoldfastError("invalid", "a connection that is open already");
    const stream = new ChannelStream({ id, send });
    if (!connections.admit(stream)) return;
    streams.set(id, stream);
    stream.once("close", () => streams.delete(id));
    const opened = async () => {
      const upstream = await open(host, port);
      send({ kind: "net_opened", id });
      return upstream;
    };
    void connections.join(stream, opened, {
      refuse: (_client, error) =>
        stream.fail(error instanceof HoldfastError ? error.code : "failed", messageOf(error)),
    });
  };
  return {
    receive(value, send) {
      const frame = parseNetFrame(value);
      if (frame.kind === "net_open") start(frame, send);
      // What comes for one that is over crossed its end.
      else streams.get(frame.id)?.receive(frame);
    },
    close: () => connections.close(),
  };
}
