import { expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import { EmitChain, type EmitHandler } from "./emit-chain.ts";

/** Batches of one frame each; a commit ends when the test says so. */
function rig(prepare: (type: string) => void = () => {}) {
  const kept: string[] = [];
  const answers: [number, string | undefined][] = [];
  const commits = new Map<string, (error?: Error) => void>();
  const handler: EmitHandler = async ([event], _checkpoint, turn) => {
    prepare(event!.type);
    await turn;
    await new Promise<void>((resolve, reject) => {
      commits.set(event!.type, (error) => (error ? reject(error) : resolve()));
    });
    kept.push(event!.type);
  };
  const chain = new EmitChain(handler, (seq, refused) => answers.push([seq, refused]));
  const push = (seq: number) =>
    chain.push({ seq, events: [{ type: `e${seq}` }], checkpoint: undefined, bytes: 600_000 });
  const turns = async () => {
    for (let n = 0; n < 20; n++) await Promise.resolve();
  };
  return { chain, push, kept, answers, commits, turns };
}

test("a batch is made ready while the one before commits, and committed only after it", async () => {
  const prepared: string[] = [];
  const { chain, push, kept, answers, commits, turns } = rig((type) => prepared.push(type));
  for (const seq of [1, 2, 3]) push(seq);
  await turns();
  expect(prepared).toEqual(["e1", "e2"]);
  expect([...commits.keys()]).toEqual(["e1"]);
  for (const type of ["e1", "e2", "e3"]) {
    commits.get(type)!();
    await turns();
  }
  await chain.idle();
  expect(kept).toEqual(["e1", "e2", "e3"]);
  expect(answers).toEqual([
    [1, undefined],
    [2, undefined],
    [3, undefined],
  ]);
});

test("after a refusal nothing that follows is kept, though it was ready", async () => {
  const { chain, push, kept, answers, commits, turns } = rig();
  for (const seq of [1, 2, 3]) push(seq);
  await turns();
  commits.get("e1")!(new Error("disk full"));
  await chain.idle();
  expect(kept).toEqual([]);
  expect([...commits.keys()]).toEqual(["e1"]);
  expect(answers.map(([seq, refused]) => [seq, refused])).toEqual([
    [1, "disk full"],
    [2, "disk full"],
    [3, "disk full"],
  ]);
});

test("a batch that cannot be made ready does not speak for the one before", async () => {
  const { chain, push, kept, answers, commits, turns } = rig((type) => {
    if (type === "e2") throw new HoldfastError("too_large", "too large");
  });
  for (const seq of [1, 2]) push(seq);
  await turns();
  expect(chain.refusal).toBeUndefined();
  commits.get("e1")!();
  await chain.idle();
  expect(kept).toEqual(["e1"]);
  expect(answers).toEqual([
    [1, undefined],
    [2, "too large"],
  ]);
  expect(chain.refusal).toEqual({ reason: "too large", fault: true });
});
