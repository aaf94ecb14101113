import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import { agentHome, agentIds, defaultBase, placeStarterConfig, prepareHome } from "./home.ts";

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "holdfast-home-"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function tree(root: string): Record<string, string> {
  const entries = readdirSync(root, { recursive: true }) as string[];
  return Object.fromEntries(
    entries.sort().map((name) => [name, (statSync(join(root, name)).mode & 0o777).toString(8)]),
  );
}

const TREE = {
  config: "750",
  "config/certificates": "700",
  "config/conf.d": "750",
  "config/plugins": "700",
  data: "750",
  "data/cache": "750",
  "data/plugins": "750",
  "data/state": "750",
  logs: "750",
  "logs/audit": "750",
  "logs/plugins": "750",
  tmp: "750",
  "tmp/workdir": "750",
};

function failure(action: () => unknown): HoldfastError {
  try {
    action();
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("an empty base gets exactly the documented tree, whatever the umask, and the base is made", () => {
  const before = process.umask(0o077);
  try {
    const home = agentHome(join(base, "new", "base"), "web-01");
    prepareHome(home);
    expect(home.root).toBe(join(base, "new", "base", "agent-web-01"));
    expect(statSync(home.root).mode & 0o777).toBe(0o750);
    expect(tree(home.root)).toEqual(TREE);
    expect(statSync(join(base, "new", "base")).mode & 0o777).toBe(0o750);
  } finally {
    process.umask(before);
  }
});

test("again: a deleted folder is back, content and chosen modes stay, secrets are closed again", () => {
  const home = agentHome(base, "web-01");
  prepareHome(home);
  placeStarterConfig(home);
  writeFileSync(home.keyFile, "key", { mode: 0o644 });
  writeFileSync(home.caFile, "ca", { mode: 0o644 });
  writeFileSync(home.database, "rows");
  chmodSync(home.logs, 0o755);
  chmodSync(home.certificates, 0o755);
  rmSync(home.cache, { recursive: true });
  writeFileSync(home.configFile, "agent: { id: web-01 } # mine\n");
  prepareHome(home);
  expect(placeStarterConfig(home)).toBe(false);
  expect(tree(home.root)).toEqual({
    ...TREE,
    logs: "755",
    "config/agent.yaml": "640",
    "config/certificates/agent.key": "600",
    "config/certificates/ca.crt": "644",
    "data/state/agent.db": "644",
  });
  expect(readFileSync(home.configFile, "utf8")).toBe("agent: { id: web-01 } # mine\n");
  expect(readFileSync(home.database, "utf8")).toBe("rows");
});

test("two agents under one base share nothing", () => {
  const [a, b] = [agentHome(base, "web-01"), agentHome(base, "web-02")];
  for (const home of [a, b]) prepareHome(home);
  writeFileSync(join(base, "agent-file"), "");
  mkdirSync(join(base, "agent-x"));
  mkdirSync(join(base, "hub"));
  expect(agentIds(base)).toEqual(["web-01", "web-02"]);
  expect(agentIds(join(base, "none"))).toEqual([]);
  const paths = (home: typeof a) => Object.entries(home).filter(([key]) => key !== "base" && key !== "id");
  for (const [, path] of paths(a)) expect(path).toStartWith(a.root);
  expect(paths(a).some(([, path]) => paths(b).some(([, other]) => other === path))).toBe(false);
});

test.each(["a", "ab", "../x", "", "-ab", "a b c", "web/01", "x".repeat(65), "ünï"])(
  "the id %p is refused",
  (id) => expect(failure(() => agentHome(base, id)).message).toContain("is not an agent id: 3 to 64 letters"),
);

test.each(["abc", "web-01", "A_b", "x".repeat(64)])("the id %p is fine", (id) =>
  expect(agentHome(base, id).root).toBe(join(base, `agent-${id}`)),
);

describe("a home that cannot be used is named, with why and what to do", () => {
  test("a file in the way of the base", () => {
    writeFileSync(join(base, "file"), "");
    expect(failure(() => prepareHome(agentHome(join(base, "file"), "web-01"))).message).toBe(
      `cannot make ${join(base, "file")}: a file is in the way; move it away or choose another --home`,
    );
    expect(failure(() => prepareHome(agentHome(join(base, "file", "x"), "web-01"))).message).toBe(
      `cannot make ${join(base, "file", "x")}: a file is in the way; move it away or choose another --home`,
    );
  });

  test("a file in the way of a folder; nothing of it is touched", () => {
    const home = agentHome(base, "web-01");
    mkdirSync(home.root);
    writeFileSync(home.data, "mine");
    expect(failure(() => prepareHome(home)).message).toStartWith(
      `cannot use the folder ${home.data}: something that is not a folder is in the way`,
    );
    expect(readFileSync(home.data, "utf8")).toBe("mine");
  });

  test("read-only: /proc takes no folder, not even from root", () => {
    const error = failure(() => prepareHome(agentHome("/proc/holdfast", "web-01")));
    expect(error.message).toStartWith("cannot make /proc/holdfast: ");
    expect(error.message).toEndWith("choose another --home");
  });

  test("read-only: a tree that is there but on a read-only file system", () => {
    const link = join(base, "agent-web-01");
    symlinkSync("/proc/1", link);
    const error = failure(() => prepareHome(agentHome(base, "web-01")));
    expect(error.message).toStartWith(`cannot use ${link}: `);
    expect(error.message).toEndWith("choose another --home");
  });

  test("a name too long", () => {
    const error = failure(() => prepareHome(agentHome(join(base, "x".repeat(300)), "web-01")));
    expect(error.message).toContain("the path is too long");
  });
});

test("the default base", () => {
  expect(defaultBase({ HOME: "/home/x" }, 0)).toBe("/var/lib/holdfast");
  expect(defaultBase({ HOME: "/home/x" }, 1000)).toBe("/home/x/.local/state/holdfast");
  expect(defaultBase({ HOME: "/home/x", XDG_STATE_HOME: "/s" }, 1000)).toBe("/s/holdfast");
  expect(defaultBase({ HOME: "/home/x", XDG_STATE_HOME: "s" }, 1000)).toBe("/home/x/.local/state/holdfast");
  expect(failure(() => defaultBase({}, 1000)).message).toContain("--home DIR");
});
