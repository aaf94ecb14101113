/** For whom it is done, as the audit keeps it. */
export interface Requester {
  plugin: string;
  part: string;
  run?: string;
  step?: string;
  /** In the privileged service: who is at the other end of the socket. */
  peer?: { uid: number; pid: number };
}
