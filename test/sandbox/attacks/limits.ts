import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { Attack } from "../attack.ts";

const level = "limits" as const;
const MB = 1024 ** 2;
/** Milliseconds that a spin lasts at most; the harness looks at the processor time meanwhile, and then ends it. */
const SPIN_MS = 8000;

export const LIMITS: Attack[] = [
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
