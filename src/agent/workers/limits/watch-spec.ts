import type { Resources } from "../../../model/permissions.ts";
import type { EndCause } from "../../../model/worker-end.ts";
import type { CgroupLeaf } from "./cgroup.ts";

export interface WatchSpec {
  /** Leader of a session of its own. */
  pid: number;
  resources: Resources;
  /** The worker's own folder. */
  folder: string;
  /** Its control group, where there is one; what the kernel holds there is only measured. */
  leaf: CgroupLeaf | null;
  /** Runs the JavaScript engine: what that needs is not counted. */
  host: boolean;
  /** False: nothing is held, all is measured. */
  confined: boolean;
  /** It cannot start processes. Unknown counts as false, which costs more looks. */
  alone?: boolean;
  /** Called once, when a limit was passed; `hit()` says which. */
  kill(): void;
}

export interface Hit {
  cause: EndCause;
  text: string;
}
