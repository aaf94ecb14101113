/** What a plugin host needs before a plugin has done anything; it is not counted against the plugin. */
export const HOST_MEMORY_BYTES = 32 * 1024 ** 2;
/** Threads of the JavaScript engine: collectors, compilers, input and output. */
export const HOST_THREADS = 64;

export function memoryAllowance(host: boolean): number {
  return host ? HOST_MEMORY_BYTES : 0;
}
