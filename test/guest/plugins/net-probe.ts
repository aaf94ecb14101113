import { defineTrigger, v } from "holdfast";

async function answerOf(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(20_000) });
    const text = await response.text();
    // What a proxy refuses is an answer of the proxy.
    return response.ok ? text : `failed: ${response.status} ${text}`;
  } catch (error) {
    return `failed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Asks a host that it was granted, and one that it was not. */
export default defineTrigger({
  name: "net-probe",
  description: "Says what two servers answer",
  settings: v.strictObject({ granted: v.string(), other: v.string() }),
  permissions: { connect: ["${endpoint(settings.granted)}"] },
  async *run({ settings, clock, signal }) {
    for await (const _ of clock.every(5_000, signal)) {
      const data = { granted: await answerOf(settings.granted), other: await answerOf(settings.other) };
      yield { type: "net.answers", data };
    }
  },
});
