/** A worker that may connect to one port reaches that one, in every way the kernel allows, and no other. */
import { expect, test } from "bun:test";
import { runGrantedAs, USERS } from "./suite-process.ts";

const HOSTS: { title: string; without?: string; curl: string | null }[] = [
  { title: "own network namespace", curl: "granted" },
  { title: "one port by Landlock", without: "netNamespace", curl: null },
  { title: "neither", without: "netNamespace,abi=2", curl: null },
];

for (const user of USERS) {
  for (const { title, without, curl } of HOSTS) {
    test(`${title}: ${user}`, async () => {
      const { rows, got } = await runGrantedAs({ user, compiled: false, without });
      expect(rows.filter((row) => row.off === "failed")).toEqual([]);
      // In a network of its own it may send what it likes: nobody hears it.
      expect(rows.filter((row) => row.seen !== null)).toEqual([]);
      expect(rows.length).toBeGreaterThan(15);
      if (curl !== null) expect(got).toBe(curl);
    }, 60_000);
  }
}
