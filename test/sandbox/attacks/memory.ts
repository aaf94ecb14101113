import type { Attack } from "../attack.ts";
import { touchMemory } from "./kit.ts";

const level = "limits" as const;
const MB = 1024 ** 2;
/** Workers of the suite may use 128 MB. What reaches more than twice that and keeps it got through, and takes no more. */
const ENOUGH = 320 * MB;
/** A limit that is held by watching is passed for some milliseconds, which docs/sandbox.md tells. */
const KEPT_MS = 700;
const KEEP = `time.sleep(${KEPT_MS / 1000})`;

/** Taking more memory than was granted. */
export const MEMORY: Attack[] = [
  {
    id: "memory.buffers",
    title: "4 GB in buffers",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: async () => {
        const buffers: Buffer[] = [];
        return await grow((bytes) => buffers.push(Buffer.alloc(bytes, 1)));
      },
      sh: `head -c 400000000 /dev/zero | tail -c 320000000 | { sleep ${KEPT_MS / 1000}; wc -c; } | grep -q 320000000`,
      py: `
import time
kept = []
while len(kept) * 8 < 320:
    kept.append(b"x" * (8 << 20))
${KEEP}
return "%d MB" % (len(kept) * 8)`,
    },
  },
  {
    id: "memory.heap",
    title: "4 GB in the heap",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: async () => {
        const objects: unknown[] = [];
        return await grow((bytes) => {
          // Each array takes eight bytes an element.
          const items = new Array<number>(bytes / 8);
          for (let at = 0; at < items.length; at++) items[at] = at + 0.5;
          objects.push(items);
        });
      },
      py: `
import time
kept = []
for block in range(40):
    kept.append([object() for _ in range(8 << 20 >> 4)])
${KEEP}
return "%d blocks" % len(kept)`,
    },
  },
  {
    id: "memory.mmap",
    title: "4 GB by mmap",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: () => grow((bytes) => touchMemory(bytes, false)),
      py: `
import mmap, time
kept = []
while len(kept) * 8 < 320:
    kept.append(mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    kept[-1].write(b"x" * (8 << 20))
${KEEP}
return "%d MB" % (len(kept) * 8)`,
    },
  },
  {
    id: "memory.shared",
    title: "4 GB of shared memory, which RLIMIT_DATA does not count",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: () => grow((bytes) => touchMemory(bytes, true)),
      py: `
import mmap, time
kept = []
while len(kept) * 8 < 320:
    kept.append(mmap.mmap(-1, 8 << 20))
    kept[-1].write(b"x" * (8 << 20))
    time.sleep(0.01)
${KEEP}
return "%d MB" % (len(kept) * 8)`,
    },
  },
  {
    id: "memory.shared-dropped",
    title: "shared memory that stays when the process lets go of its pages",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      py: `
import mmap, time
kept = []
while len(kept) * 8 < 320:
    kept.append(mmap.mmap(-1, 8 << 20))
    kept[-1].write(b"x" * (8 << 20))
    kept[-1].madvise(mmap.MADV_DONTNEED)
${KEEP}
if any(block[0] != 120 for block in kept): raise Exception("it is gone")
return "%d MB" % (len(kept) * 8)`,
    },
  },
  {
    id: "memory.memfd",
    title: "4 GB in files that are memory",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      py: `
import time
kept, block = [], b"x" * (8 << 20)
while len(kept) * 8 < 320:
    kept.append(os.memfd_create("x"))
    os.write(kept[-1], block)
    time.sleep(0.01)
${KEEP}
return "%d MB" % (len(kept) * 8)`,
    },
  },
];

/** Takes memory in blocks of 8 MB, giving watchers the time that a plugin's own work would, and keeps it. */
async function grow(take: (bytes: number) => void): Promise<string> {
  for (let taken = 0; taken < ENOUGH; taken += 8 * MB) {
    take(8 * MB);
    await Bun.sleep(2);
  }
  await Bun.sleep(KEPT_MS);
  return `${ENOUGH / MB} MB`;
}
