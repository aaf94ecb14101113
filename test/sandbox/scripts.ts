/** Makes one script of several attacks: `BEGIN id`, then `ESCAPED id what` or `STOPPED id why` for each. */
import type { Attack, Target } from "./attack.ts";
import { PYTHON_KIT } from "./attacks/kit-python.ts";

export interface ScriptTask {
  attack: Attack;
  target: Target;
}

export function shellScript(tasks: ScriptTask[]): string {
  return tasks
    .map(({ attack, target }) => {
      const variables = Object.entries(target)
        .filter(([name]) => name !== "own" && name !== "secret")
        .map(([name, value]) => `${name}='${String(value)}'`);
      return `
echo "BEGIN ${target.id}"
said=$(
  exec 2>&1
  own=$HOME
  ${variables.join("\n  ")}
  ${attack.code!.sh}
)
code=$?
said=$(printf %s "$said" | tr -s '\\n\\0' '  ' | cut -c 1-300)
if [ $code -eq 0 ]; then echo "ESCAPED ${target.id} $said"; else echo "STOPPED ${target.id} exit $code: $said"; fi
`;
    })
    .join("");
}

export function pythonScript(tasks: ScriptTask[]): string {
  const functions = tasks.map(({ attack }, at) => {
    const code =
      attack.code?.py ?? `return make_calls(json.loads(${JSON.stringify(JSON.stringify(attack.calls))}), t)`;
    const body = code.trim().split("\n");
    return `def attack_${at}(t):\n${body.map((line) => `    ${line}`).join("\n")}\n`;
  });
  const calls = tasks.map(
    ({ attack, target }, at) =>
      `attempt(attack_${at}, Target(json.loads(${JSON.stringify(JSON.stringify({ ...target, secret: "" }))})), ${JSON.stringify(attack.reached ?? [])})`,
  );
  return `${PYTHON_KIT}
def attempt(attack, t, reached):
    t.own = os.environ["HOME"]
    print("BEGIN " + t.id, flush=True)
    try:
        got = attack(t)
        line = "ESCAPED %s %s" % (t.id, got)
    except BaseException as error:
        if any(str(error).endswith(": " + name) for name in reached):
            line = "ESCAPED %s reached %s" % (t.id, error)
        else:
            line = "STOPPED %s %s: %s" % (t.id, type(error).__name__, error)
    print(" ".join(line.split())[:300], flush=True)

${functions.join("\n")}
${calls.join("\n")}
`;
}
