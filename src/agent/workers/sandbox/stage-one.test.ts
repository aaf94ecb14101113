import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AS_NOBODY,
  IN_USER_NAMESPACE,
  openPolicy,
  runStage,
  type StageOptions,
} from "../../../testing/stage-one-rig.ts";
import type { LandlockPolicy, LaunchPolicy, PathRight, SeccompPolicy } from "./launch-policy.ts";
import { openKernel } from "./libc.ts";

const ROOT = process.getuid!() === 0;
if (!ROOT) console.warn("SKIPPED: the half of these tests that only root can run");

const home = mkdtempSync(join(tmpdir(), "holdfast-stage-"));
chmodSync(home, 0o755);
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** A folder for a test, with a file `own/file` that everyone may read, and `outside`. */
function folder(name: string): string {
  const path = join(home, name);
  for (const part of ["own", "outside"]) {
    mkdirSync(join(path, part), { recursive: true });
    chmodSync(join(path, part), 0o777);
    writeFileSync(join(path, part, "file"), "content\n");
    chmodSync(join(path, part, "file"), 0o666);
  }
  return path;
}

const SYSTEM: LandlockPolicy["paths"] = ["/usr", "/bin", "/lib", "/lib64", "/sbin"].map((path) => ({
  path,
  rights: ["list", "read", "execute"] as PathRight[],
  follow: true,
}));
const NULL: LandlockPolicy["paths"] = [{ path: "/dev/null", rights: ["read", "write"] }];
const WRITE: PathRight[] = ["list", "read", "write"];

function landlock(...paths: LandlockPolicy["paths"]): LandlockPolicy {
  return { paths: [...SYSTEM, ...NULL, ...paths], connect: [], bind: [] };
}
const SECCOMP: SeccompPolicy = {
  fork: true,
  fileModes: false,
  sockets: "none",
  icmp: false,
  denyTruncate: false,
};
const shell = (script: string, change: Partial<LaunchPolicy> = {}) =>
  openPolicy(["/bin/sh", "-c", script], change);

/** Who stage 1 starts as. Only root can try them all. */
const STARTS: [string, StageOptions, number][] = ROOT
  ? [
      ["root", {}, 0],
      ["nobody", { prefix: AS_NOBODY }, 65534],
    ]
  : [["this user", {}, process.getuid!()]];

async function out(policy: LaunchPolicy, options: StageOptions = {}): Promise<string> {
  const stage = await runStage(policy, options);
  expect(stage.frames.filter(({ kind }) => kind === "failed")).toEqual([]);
  return `${stage.out}${stage.err}`;
}

describe.each(STARTS)("as %s", (_name, start, uid) => {
  test("becomes the program, with this environment, in this folder, with nothing left over", async () => {
    const path = folder(`plain-${uid}`);
    const said = await out(
      shell(
        "pwd; env | sort; ls /proc/self/fd; grep -E 'Cap|NoNew|SigBlk|SigIgn' /proc/self/status; ulimit -n; ulimit -f; ulimit -c",
        {
          cwd: path,
          env: { A: "1 2", B: "ü" },
          rlimits: { NOFILE: 99, FSIZE: 4096, CORE: 0, CPU: 100 },
        },
      ),
      start,
    );
    const lines = said.split("\n");
    expect(lines.slice(0, 4)).toEqual([path, "A=1 2", "B=ü", `PWD=${path}`]);
    // 0, 1, 2, the channel, and the folder that ls reads.
    expect(lines.slice(4, 9)).toEqual(["0", "1", "2", "3", "4"]);
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb", "SigBlk", "SigIgn"]) {
      expect(said).toContain(`${set}:\t0000000000000000`);
    }
    if (uid === 0) expect(said).toContain("CapBnd:\t0000000000000000");
    expect(said).toContain("NoNewPrivs:\t1");
    expect(lines.slice(-4, -1)).toEqual(["99", "8", "0"]);
  });

  test("leads a session of its own and dies with its parent", async () => {
    const said = await out(shell("cut -d' ' -f1,5,6 /proc/$$/stat"), start);
    const [pid, group, session] = said.trim().split(" ");
    expect([group, session]).toEqual([pid, pid]);
  });

  test("Landlock: reads and writes what is granted, in every way, and nothing else", async () => {
    const path = folder(`landlock-${uid}`);
    const own = { path: join(path, "own"), rights: WRITE };
    const script = `
      cat own/file && echo x > own/new && mkdir own/d && mv own/new own/d/ && rm -r own/d && ln -s /etc own/link && echo writes
      cat outside/file; ls outside; echo x > outside/file; echo x > outside/new; rm -f outside/file; mv outside/file own/; ln outside/file own/hard
      cat own/link/passwd /proc/1/environ /proc/self/root/etc/passwd`;
    const said = await out(shell(script, { cwd: path, landlock: landlock(own) }), start);
    expect(said).toStartWith("content\nwrites\n");
    expect(
      said.split("\n").filter((line) => /denied|not permitted|cross-device/.test(line)).length,
    ).toBeGreaterThanOrEqual(10);
    expect(readFileSync(join(path, "outside/file"), "utf8")).toBe("content\n");
    expect(existsSync(join(path, "outside/new"))).toBe(false);
    // The same script, unconfined, does it all: the test can fail.
    await out(shell("echo x > outside/new && mv outside/file own/moved", { cwd: path }), start);
    expect(existsSync(join(path, "own/moved"))).toBe(true);
  });

  test("Landlock: a granted path that became a symbolic link fails the launch; an absent one gives nothing", async () => {
    const path = folder(`links-${uid}`);
    symlinkSync("/etc", join(path, "link"));
    const stage = await runStage(
      shell("echo ran", { landlock: landlock({ path: join(path, "link"), rights: ["read"] }) }),
      start,
    );
    expect(stage.out).toBe("");
    expect(stage.code).toBe(78);
    expect(stage.frames).toEqual([
      { kind: "failed", message: `sandbox: open ${path}/link, which holds a symbolic link: ELOOP` },
    ]);
    const policy = landlock({ path: join(path, "nowhere"), rights: ["read"] });
    expect(await out(shell("echo ran", { landlock: policy }), start)).toBe("ran\n");
  });

  test("seccomp: no sockets, no namespaces, no modes of files outside, no lasting signals", async () => {
    const path = folder(`seccomp-${uid}`);
    const script = `
import os, socket, ctypes
def attempt(name, action):
    try:
        action()
        print(name, 'done')
    except OSError as error:
        print(name, os.strerror(error.errno))
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    def run():
        if getattr(libc, name)(*args) == -1:
            raise OSError(ctypes.get_errno(), name)
    return run
attempt('tcp', lambda: socket.socket())
attempt('pair', lambda: socket.socketpair())
attempt('datagram pair', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
attempt('chmod', lambda: os.chmod('outside/file', 0o600))
attempt('utime', lambda: os.utime('outside/file', (1, 1)))
attempt('fifo', lambda: os.mkfifo('own/fifo'))
attempt('unshare', call('unshare', 0x10000000))
attempt('outlive', call('prctl', 1, 0))
attempt('memfd', lambda: os.memfd_create('x'))
attempt('setsid', lambda: os.fork() or os.setsid())
attempt('ptrace', call('ptrace', 0, 0, 0, 0))
`;
    const python = (change: Partial<SeccompPolicy>) =>
      out(
        openPolicy(["/usr/bin/python3", "-c", script], { cwd: path, seccomp: { ...SECCOMP, ...change } }),
        start,
      );
    const lines = (await python({})).split("\n");
    expect(lines).toContain("tcp Permission denied");
    expect(lines).toContain("pair done");
    expect(lines).toContain("datagram pair Permission denied");
    for (const name of ["chmod", "utime", "fifo", "unshare", "outlive", "ptrace"]) {
      expect(lines).toContain(`${name} Operation not permitted`);
    }
    expect(lines).toContain("memfd Function not implemented");
    const noFork = (await python({ fork: false, sockets: "tcp", fileModes: true })).split("\n");
    expect(noFork).toContain("tcp done");
    expect(noFork).toContain("fifo done");
    expect(noFork).toContain("memfd done");
    expect(noFork).toContain("setsid Resource temporarily unavailable");
  });

  test("a program that is not there, a folder that is not there: told, and exit code 78", async () => {
    const gone = await runStage(openPolicy(["/nowhere/program"]), start);
    expect(gone).toMatchObject({
      code: 78,
      frames: [{ message: "sandbox: execute /nowhere/program: ENOENT" }],
    });
    const folderless = await runStage(shell("echo ran", { cwd: "/nowhere" }), start);
    expect(folderless).toMatchObject({
      code: 78,
      out: "",
      frames: [{ message: "sandbox: enter /nowhere: ENOENT" }],
    });
    const groupless = await runStage(shell("echo ran", { cgroup: "/nowhere" }), start);
    expect(groupless.frames).toEqual([
      { kind: "failed", message: "sandbox: open /nowhere/cgroup.procs: ENOENT" },
    ]);
  });

  test("under a limit of data", async () => {
    const script =
      "import sys\nprint('x')\ntry:\n b = bytearray(200 << 20)\nexcept MemoryError: print('limited')";
    const said = await out(
      openPolicy(["/usr/bin/python3", "-c", script], { rlimits: { DATA: 100 * 1024 * 1024 } }),
      start,
    );
    expect(said).toBe("x\nlimited\n");
  });
});

/** Who may make namespaces: root as it is, others in a user namespace. */
const NAMESPACE_STARTS: [string, StageOptions][] = ROOT
  ? [
      ["root", {}],
      ["nobody in a user namespace", { prefix: [...AS_NOBODY, ...IN_USER_NAMESPACE] }],
    ]
  : [["this user in a user namespace", { prefix: IN_USER_NAMESPACE }]];

describe.each(NAMESPACE_STARTS)("namespaces as %s", (name, start) => {
  test("mounts: only what is writable is written, what is hidden is gone, what is replaced is another", async () => {
    const path = folder(`mounts-${name.replaceAll(" ", "-")}`);
    mkdirSync(join(path, "own/secrets"));
    writeFileSync(join(path, "own/secrets/key"), "secret");
    writeFileSync(join(path, "own/token"), "secret");
    writeFileSync(join(path, "own/hosts"), "198.51.100.1 replaced\n");
    const mount = {
      writable: [join(path, "own")],
      hidden: [join(path, "own/secrets"), join(path, "own/token"), join(path, "own/nowhere")],
      replaced: [{ path: "/etc/hosts", by: join(path, "own/hosts") }],
    };
    const script = `
      touch own/a && chmod 600 own/a && mkfifo own/f && touch -d @1 own/a && echo own
      echo x > outside/b; chmod 600 outside/file; touch -d @1 outside/file; mkfifo outside/f; ln own/a outside/a
      echo x > /tmp/holdfast-mounts-test; echo x > /dev/null && echo null
      ls -A own/secrets; wc -c < own/token; echo x > own/secrets/y; cat /etc/hosts; echo x >> /etc/hosts
      umount own/secrets; pwd`;
    const said = await out(
      shell(script, { cwd: path, mount, seccomp: { ...SECCOMP, fileModes: true } }),
      start,
    );
    const lines = said.split("\n");
    expect(lines.filter((line) => /Read-only file system|hosts: Permission denied/.test(line))).toHaveLength(
      8,
    );
    expect(said).toStartWith(`own\nnull\n0\n198.51.100.1 replaced\n${path}\n`);
    expect(said).not.toContain("secret\n");
    expect(lstatSync(join(path, "outside/file")).mode & 0o777).toBe(0o666);
    expect(readFileSync(join(path, "own/secrets/key"), "utf8")).toBe("secret");
    expect(readFileSync("/etc/hosts", "utf8")).not.toContain("replaced");
  });

  test("network: every address is the agent's socket, and nothing goes before it is taken", async () => {
    const kernel = openKernel();
    const taken: Bun.TCPSocketListener[] = [];
    const script = `
import socket
for address in ['93.184.216.34', '2606:2800::1', '127.0.0.1']:
    print(socket.create_connection((address, 8091), 5).recv(100).decode())
try:
    socket.create_connection(('93.184.216.34', 81), 5)
except OSError as error:
    print(error.strerror)
print(socket.getaddrinfo('127.0.0.1', 1, socket.AF_INET, 0, 0, socket.AI_ADDRCONFIG)[0][4][0])
`;
    const answer = (frame: Record<string, unknown>, pid: number) => {
      if (frame.kind !== "sockets") return undefined;
      const { tcp, udp } = frame as unknown as Record<"tcp" | "udp", { port: number; fd: number }[]>;
      expect([tcp.map(({ port }) => port), udp.map(({ port }) => port)]).toEqual([[8091], [53]]);
      const process = kernel.call("pidfd_open", pid, 0);
      const fd = kernel.call("pidfd_getfd", process, tcp[0]!.fd, 0);
      expect(fd).toBeGreaterThan(0);
      kernel.call("close", process);
      taken.push(
        Bun.listen({
          fd,
          socket: { open: (socket: Bun.Socket) => void socket.end("relayed"), data() {} },
        } as never),
      );
      return { kind: "go" };
    };
    const policy = openPolicy(["/usr/bin/python3", "-c", script], {
      net: { tcp: [8091], udp: [53] },
      seccomp: { ...SECCOMP, sockets: "all" },
    });
    const stage = await runStage(policy, { ...start, answer });
    for (const listener of taken) listener.stop(true);
    expect(stage.out + stage.err).toBe("relayed\nrelayed\nrelayed\nConnection refused\n127.0.0.1\n");

    const refused = await runStage(policy, {
      ...start,
      answer: ({ kind }) => (kind === "sockets" ? { kind: "no" } : undefined),
    });
    expect(refused).toMatchObject({ code: 78, out: "" });
    expect(refused.frames[1]!.message).toContain("sandbox: the agent did not take the sockets");
  });
});

test.skipIf(!ROOT)("root gives it a user of its own, without groups", async () => {
  const path = folder("own-user");
  const said = await out(
    shell("id -u; id -g; id -G; cat own/file; grep -E 'CapEff|CapBnd|NoNew' /proc/self/status", {
      cwd: path,
      uid: 1_900_000_001,
      gid: 0,
      landlock: landlock(
        { path: join(path, "own"), rights: WRITE },
        { path: "/proc/self", rights: ["read"], follow: true },
      ),
      seccomp: SECCOMP,
    }),
  );
  expect(said).toStartWith("1900000001\n0\n0\ncontent\n");
});

test("an ordinary user that makes namespaces without having any is told", async () => {
  const stage = await runStage(shell("echo ran", { mount: { writable: [], hidden: [], replaced: [] } }), {
    prefix: ROOT ? AS_NOBODY : [],
  });
  expect(stage).toMatchObject({
    code: 78,
    out: "",
    frames: [{ message: "sandbox: mount namespace: EPERM" }],
  });
});

test("garbage instead of a policy", async () => {
  for (const policy of [7, null, {}, { program: "/bin/sh" }]) {
    const stage = await runStage(policy);
    expect(stage.code).toBe(78);
    expect(stage.frames).toHaveLength(1);
    expect(stage.frames[0]).toMatchObject({ kind: "failed" });
  }
});
