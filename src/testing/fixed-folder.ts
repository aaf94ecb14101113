import { chmodSync, chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The user nobody, where the tests run as root: root may change everything. */
const OTHER = 65_534;

/**
 * A folder whose files may be changed, and in which none may be made, moved or deleted: what a plugin meets that was
 * granted a file and not its folder. `run` runs a module in a process of the user for whom that holds.
 */
export function fixedFolder(files: Record<string, string>) {
  const base = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-fixed-")));
  const folder = join(base, "folder");
  const isRoot = process.getuid?.() === 0;
  chmodSync(base, 0o755);
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), content);
    chmodSync(join(folder, name), 0o640);
    if (isRoot) chownSync(join(folder, name), OTHER, OTHER);
  }
  chmodSync(folder, 0o555);
  return {
    folder,
    /** What the code (an async function's body) leaves on stdout and stderr. */
    async run(imports: string, code: string): Promise<string> {
      const module = join(base, "run.ts");
      const drop = isRoot ? `process.setgroups([]); process.setgid(${OTHER}); process.setuid(${OTHER});` : "";
      writeFileSync(module, `${imports}\n${drop}\n${code}\n`);
      const child = Bun.spawn([process.execPath, module], {
        stdout: "pipe",
        stderr: "pipe",
        stdin: "ignore",
      });
      const [out, err] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.exited,
      ]);
      return out + err;
    },
    close() {
      chmodSync(folder, 0o755);
      rmSync(base, { recursive: true, force: true });
    },
  };
}
