import { type CommandDef, defineCommand } from "citty";
import { hubCommand } from "./hub-command.ts";
import { plainLine } from "./plain-text.ts";
import { timeAndAge } from "./show-time.ts";
import { wholeNumber } from "./strict-args.ts";

const create = hubCommand({
  name: "create",
  description: "Make a join token and print the command that enrolls an agent with it",
  example: "holdfast token create --uses 10 --ttl 1h",
  args: {
    uses: { type: "string", valueHint: "N", default: "1", description: "Agents that may enroll with it" },
    ttl: {
      type: "string",
      valueHint: "DURATION",
      default: "24h",
      description: "How long it is valid: 1m to 30d",
    },
  },
  async run(context, args) {
    const uses = wholeNumber("uses", args.uses, 1, 1000);
    const token = await context.client.createJoinToken({ uses, ttl: args.ttl });
    if (context.json) return context.out.line(JSON.stringify(token));
    await context.out.line(plainLine(token.command));
    const times = token.uses === 1 ? "once" : `${token.uses} times`;
    const until = timeAndAge(token.expiresAt, context.clock.wall());
    context.note(`works ${times}, until ${until}; whoever has it can enroll an agent: hand it over safely`);
  },
});

export const token: CommandDef<any> = defineCommand({
  meta: { name: "token", description: "Join tokens for new agents\n\nExample: holdfast token create" },
  subCommands: { create },
});
