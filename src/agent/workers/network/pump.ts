import type { Duplex } from "node:stream";

/** A connected socket, or what stands for one. */
export type Carrier = Duplex & { resetAndDestroy(): unknown };

/**
 * Carries bytes both ways between two connected sockets until both sides have ended. A reader that is slow slows down the
 * writer: nothing is held but the two sockets' own buffers. Each half closes for itself. Calls back once both are gone.
 */
export function pump(one: Carrier, other: Carrier, done: () => void): void {
  let open = 2;
  const watch = (socket: Carrier, peer: Carrier) => {
    socket.on("error", () => peer.resetAndDestroy());
    socket.once("close", () => {
      // What it had sent may still be on its way to the peer; without an end of its own the peer is cut off.
      if (!socket.readableEnded) peer.resetAndDestroy();
      else if (!socket.writableFinished) peer.destroy();
      if (--open === 0) done();
    });
  };
  watch(one, other);
  watch(other, one);
  one.pipe(other);
  other.pipe(one);
}
