import { HoldfastError } from "../../core/errors.ts";

/**
 * JSON that the store wrote itself. Bytes that are none any more were changed on the disk, which SQLite does not see: it
 * is damage like any other, and the next start sets the file aside. What the text holds is not for a message.
 */
export function storedJson<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw damagedText();
  }
}

export function damagedText(): HoldfastError {
  return new HoldfastError(
    "corrupt",
    "a row does not hold what was written: start the agent again, and it sets the damaged store aside",
  );
}
