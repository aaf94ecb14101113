/** Trusted time as the storage thread knows it: told as the store is opened and with each trimming. */
export interface StoreTime {
  trustedMs: number;
}
