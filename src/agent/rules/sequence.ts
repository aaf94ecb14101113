/** Events that met the first steps of a sequence, one after the other: times of the first and of the last of them. */
export type Chain = [firstMs: number, lastMs: number];

/**
 * What one key has seen of a sequence: for each step but the last, the chain that ends there and began last. A chain
 * that began later has more time left, so no other is needed.
 */
export type Chains = (Chain | null)[];

export interface SequenceStep {
  chains: Chains;
  complete: boolean;
}

/**
 * Takes an event that meets the steps in `meets`. An event serves one step of a chain only, comes after the one before
 * it, and is no older; the last is at most `withinMs` younger than the first. A complete sequence uses up what it saw.
 */
export function advanceSequence(
  before: Chains,
  meets: readonly boolean[],
  atMs: number,
  withinMs: number,
): SequenceStep {
  const last = meets.length - 1;
  const chains = before.slice();
  while (chains.length < last) chains.push(null);
  // From the end, so that this event does not follow itself.
  for (let step = last; step >= 0; step--) {
    if (!meets[step]) continue;
    const chain = step === 0 ? ([atMs, atMs] as Chain) : followed(chains[step - 1]!, atMs, withinMs);
    if (chain === null) continue;
    if (step === last) return { chains: [], complete: true };
    const held = chains[step]!;
    const better = held === null || chain[0] > held[0] || (chain[0] === held[0] && chain[1] < held[1]);
    if (better) chains[step] = chain;
  }
  return { chains, complete: false };
}

function followed(chain: Chain | null, atMs: number, withinMs: number): Chain | null {
  if (chain === null || atMs < chain[1] || atMs - chain[0] > withinMs) return null;
  return [chain[0], atMs];
}
