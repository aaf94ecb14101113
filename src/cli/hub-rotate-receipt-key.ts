import type { CommandDef } from "citty";
import { hubCommand } from "./hub-command.ts";

export const rotateReceiptKey: CommandDef<any> = hubCommand({
  name: "rotate-receipt-key",
  description:
    "Sign what the hub acknowledges with a new key from now on; receipts by older keys stay good, and no session ends",
  example: "holdfast hub rotate-receipt-key",
  args: {},
  async run(context) {
    const made = await context.client.rotateReceiptKey();
    if (context.json) return context.out.line(JSON.stringify(made));
    await context.out.line(`receipts are signed with key ${made.serial}`);
    context.note(`the certificates of all ${made.certificates} keys so far are kept, here and on the agents`);
  },
});
