import type { WorkerUse } from "../../model/worker-end.ts";
import type { Launched, Launcher } from "./launch.ts";

/** The workers that run now, by the number of their process. */
export class LiveWorkers {
  readonly #live = new Map<number, Launched>();

  /** The same launcher, whose workers are known here until they are gone. */
  follow(launcher: Launcher): Launcher {
    return {
      launch: async (spec) => {
        const launched = await launcher.launch(spec);
        const { pid } = launched;
        this.#live.set(pid, launched);
        const forget = () => {
          if (this.#live.get(pid) === launched) this.#live.delete(pid);
        };
        launched.exited.then(forget, forget);
        return launched;
      },
    };
  }

  /** Of all of them together. */
  use(): WorkerUse {
    const sum = { memoryBytes: 0, cpuMs: 0 };
    for (const launched of this.#live.values()) {
      const { memoryBytes, cpuMs } = launched.use();
      sum.memoryBytes += memoryBytes;
      sum.cpuMs += cpuMs;
    }
    return sum;
  }

  /** Of one; nothing for one that does not run. */
  memoryOf(pid: number | undefined): number {
    return (pid === undefined ? undefined : this.#live.get(pid))?.use().memoryBytes ?? 0;
  }
}
