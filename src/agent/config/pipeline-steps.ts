import { child, type ConfigNode, entriesOf, itemsOf, type Path, textOf } from "./node.ts";

export const PARTS = ["steps", "finally", "on_failure"] as const;

/** A step as it is written, also when it does not fit the schema. */
export interface StepNode {
  part: (typeof PARTS)[number];
  index: number;
  path: Path;
  node: ConfigNode;
  id: string | undefined;
  needs: string[];
}

export interface PipelineNode {
  name: string;
  path: Path;
  node: ConfigNode;
  /** Of all parts. */
  steps: StepNode[];
}

export function pipelinesOf(root: ConfigNode): PipelineNode[] {
  return entriesOf(child(root, "pipelines")).map(([name, node]) => {
    const path: Path = ["pipelines", name];
    return { name, path, node, steps: PARTS.flatMap((part) => stepsOf(node, path, part)) };
  });
}

function stepsOf(pipeline: ConfigNode, path: Path, part: StepNode["part"]): StepNode[] {
  return itemsOf(child(pipeline, part)).map((node, index) => ({
    part,
    index,
    path: [...path, part, index],
    node,
    id: textOf(child(node, "id")),
    needs: itemsOf(child(node, "needs")).map((need) => textOf(need) ?? ""),
  }));
}

/** Ids of the steps that a step of `steps` waits for, directly or through others. */
export function stepsBefore(step: StepNode, steps: StepNode[]): Set<string> {
  const needs = new Map(steps.filter(({ part }) => part === "steps").map(({ id, needs: of }) => [id, of]));
  const before = new Set<string>();
  const follow = (ids: string[]) => {
    for (const id of ids) {
      if (before.has(id)) continue;
      before.add(id);
      follow(needs.get(id) ?? []);
    }
  };
  follow(step.needs);
  return before;
}
