/** For calls of actions that ask for no steps. */
export function noAdditions(): Promise<void> {
  return Promise.reject(new Error("this test expects no additions"));
}
