import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { openHubStore } from "./hub-store.ts";

test("settings are kept over a restart, the last value of each", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-hub-settings-"));
  const open = () => openHubStore({ file: join(folder, "hub.db"), clock: systemClock(), ids: systemIds() });
  let store = await open();
  expect(await store.setting("a")).toBeUndefined();
  await store.setSetting("a", { n: 1 });
  await store.setSetting("a", { n: 2, text: "two" });
  await store.close();
  store = await open();
  expect(await store.setting("a")).toEqual({ n: 2, text: "two" });
  await store.close();
  rmSync(folder, { recursive: true });
});
