import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { Attack } from "../attack.ts";
import { touchMemory } from "./kit.ts";

const level = "limits" as const;
const MB = 1024 ** 2;
/** Workers of the suite may use 128 MB. What reaches more than twice that got through, and takes no more. */
const ENOUGH = 320 * MB;
/** Milliseconds that a spin lasts; the harness looks at the processor time meanwhile. */
const SPIN_MS = 2500;

export const LIMITS: Attack[] = [
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
      sh: `head -c 400000000 /dev/zero | tail -c 320000000 | wc -c | grep -q 320000000`,
      py: `
kept = []
while len(kept) * 8 < 320:
    kept.append(b"x" * (8 << 20))
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
kept = []
for block in range(40):
    kept.append([object() for _ in range(8 << 20 >> 4)])
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
import mmap
kept = []
while len(kept) * 8 < 320:
    kept.append(mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    kept[-1].write(b"x" * (8 << 20))
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
return "%d MB" % (len(kept) * 8)`,
    },
  },
  {
    id: "process.bomb",
    title: "100 processes",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      sh: `
pids=
while [ "$(echo $pids | wc -w)" -lt 100 ]; do
  sleep 5 & pids="$pids $!"
done
alive=0
for pid in $pids; do kill -0 "$pid" && alive=$((alive + 1)); done
kill $pids
[ "$alive" -ge 90 ]`,
      py: `
import time
children = []
try:
    for _ in range(100):
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
        children.append(child)
finally:
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
return "%d processes" % len(children)`,
    },
  },
  {
    id: "thread.bomb",
    title: "400 threads",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      py: `
import threading
go = threading.Event()
threads = []
threading.stack_size(65536)
try:
    for _ in range(400):
        thread = threading.Thread(target=go.wait, args=(5,))
        thread.start()
        threads.append(thread)
finally:
    go.set()
return "%d threads" % len(threads)`,
    },
  },
  {
    id: "descriptor.bomb",
    title: "2,000 descriptors",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: (t) => {
        const fds: number[] = [];
        try {
          for (let at = 0; at < 2000; at++) fds.push(openSync(t.code, "r"));
        } finally {
          for (const fd of fds) closeSync(fd);
        }
        return `${fds.length} descriptors`;
      },
      py: `
kept = [os.open(t.code, os.O_RDONLY) for _ in range(2000)]
return len(kept)`,
    },
  },
  {
    id: "spin.sync",
    title: "a loop without end",
    level,
    proof: "cpu",
    own: true,
    off: "succeeds",
    code: {
      ts: () => {
        for (const end = performance.now() + SPIN_MS; performance.now() < end;);
        return "spun";
      },
      sh: `timeout ${SPIN_MS / 1000} sh -c 'while :; do :; done'; true`,
      py: `
import time
end = time.monotonic() + ${SPIN_MS / 1000}
while time.monotonic() < end:
    pass`,
    },
  },
  {
    id: "spin.async",
    title: "a loop without end that gives way",
    level,
    proof: "cpu",
    own: true,
    off: "succeeds",
    code: {
      ts: async () => {
        for (const end = performance.now() + SPIN_MS; performance.now() < end;) await Promise.resolve();
        return "spun";
      },
    },
  },
  {
    id: "spin.thread",
    title: "a loop without end in a thread",
    level,
    proof: "cpu",
    own: true,
    off: "succeeds",
    code: {
      ts: async () => {
        const source = `for (const end = performance.now() + ${SPIN_MS}; performance.now() < end; ); postMessage(0);`;
        const worker = new Worker(URL.createObjectURL(new Blob([source])));
        await new Promise((resolve) => (worker.onmessage = resolve));
        worker.terminate();
        return "spun";
      },
    },
  },
  {
    id: "spin.processes",
    title: "a loop without end in a child",
    level,
    proof: "cpu",
    own: true,
    off: "succeeds",
    code: {
      sh: `
for at in 1 2 3; do timeout ${SPIN_MS / 1000} sh -c 'while :; do :; done' & done
wait`,
      py: `
import time
end = time.monotonic() + ${SPIN_MS / 1000}
if os.fork():
    os.wait()
else:
    while time.monotonic() < end:
        pass
    os._exit(0)`,
    },
  },
  {
    id: "disk.big-file",
    title: "one big file",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: (t) => {
        const fd = openSync(`${t.own}/big`, "w");
        const block = Buffer.alloc(MB, 1);
        for (let written = 0; written < 40; written++) {
          if (writeSync(fd, block) !== block.length) throw new Error("a short write");
        }
        return "40 MB";
      },
      sh: `dd if=/dev/zero of="$own/big" bs=1M count=40 status=none && test "$(stat -c %s "$own/big")" -eq 41943040`,
      py: `
with open(t.own + "/big", "wb") as file:
    for _ in range(40):
        file.write(b"x" * (1 << 20))
return "40 MB"`,
    },
  },
  {
    id: "disk.sparse-file",
    title: "one file of 1 TB with nothing in it",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: (t) => {
        ftruncateSync(openSync(`${t.own}/sparse`, "w"), 1024 ** 4);
        return "1 TB";
      },
      sh: `truncate -s 1T "$own/sparse"`,
      py: `os.truncate(os.open(t.own + "/sparse", os.O_RDWR | os.O_CREAT), 1 << 40)`,
    },
  },
  {
    id: "disk.many-files",
    title: "many files",
    level,
    proof: "said",
    own: true,
    off: "succeeds",
    code: {
      ts: async (t) => {
        const block = Buffer.alloc(MB, 1);
        for (let at = 0; at < 100; at++) {
          await Bun.write(`${t.own}/file-${at}`, block);
          await Bun.sleep(20);
        }
        return "100 MB";
      },
      sh: `
at=0
while [ $at -lt 100 ]; do
  head -c 1048576 /dev/zero > "$own/file-$at" && sleep 0.02 || exit 1
  at=$((at + 1))
done`,
      py: `
import time
for at in range(100):
    with open(t.own + "/file-%d" % at, "wb") as file:
        file.write(b"x" * (1 << 20))
    time.sleep(0.02)
return "100 MB"`,
    },
  },
];

/** Takes memory in blocks of 8 MB, giving watchers the time that a plugin's own work would. */
async function grow(take: (bytes: number) => void): Promise<string> {
  for (let taken = 0; taken < ENOUGH; taken += 8 * MB) {
    take(8 * MB);
    await Bun.sleep(2);
  }
  return `${ENOUGH / MB} MB`;
}
