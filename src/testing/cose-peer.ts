import { join } from "node:path";

/** Runs the side of an MQTT session that is written in Python; what it takes and gives is in cose-peer.py. */
export async function pythonPeer(request: object): Promise<Record<string, any>> {
  const child = Bun.spawn(["/usr/bin/python3", join(import.meta.dir, "cose-peer.py")], {
    stdin: Buffer.from(JSON.stringify(request)),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, problem, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`the Python side failed: ${problem}`);
  return JSON.parse(out);
}
