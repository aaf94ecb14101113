import { FrameChannel } from "../channel.ts";
import type { Launched, Launcher } from "../launch.ts";
import { parseUpFrame } from "../up-frame.ts";
import type { ScriptLauncher } from "./ports.ts";

/** Scripts are started by the launcher of all workers; its channel is only for what the launcher itself has to say. */
export function scriptLauncher(
  launcher: Launcher,
  onEnd: (plugin: string, end: Awaited<Launched["exited"]>) => void,
): ScriptLauncher {
  return {
    async launch(options) {
      const launched = await launcher.launch(options);
      await followLauncher(launched);
      void launched.exited.then((end) => onEnd(options.label, end));
      return launched;
    },
  };
}

/** Takes the sockets of the script's network, if it has one of its own, and lets it go on. */
async function followLauncher(launched: Launched): Promise<void> {
  const handedOver = Promise.withResolvers<void>();
  const channel = await FrameChannel.open(launched.channelFd, {
    frame(value) {
      const frame = parseUpFrame(value);
      if (frame.kind === "failed") return launched.kill({ text: frame.message });
      if (frame.kind !== "sockets" || !launched.awaitsSockets)
        throw new Error(`a frame ${frame.kind} from a script`);
      launched.adoptSockets(frame).then(
        () => {
          channel.send(JSON.stringify({ kind: "go" }));
          handedOver.resolve();
        },
        (error: unknown) => launched.kill({ text: `it has no network: ${String(error)}` }),
      );
    },
    closed: () => handedOver.resolve(),
  });
  void launched.exited.then(() => channel.close());
  if (launched.awaitsSockets) await Promise.race([handedOver.promise, launched.exited]);
}
