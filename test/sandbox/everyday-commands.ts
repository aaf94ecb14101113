/** What scripts do every day. Each runs in a fresh folder inside the worker's own, with `set -e`. */
export interface EverydayCommand {
  /** As `holdfast doctor` names it. */
  id: string;
  /** A program that must be there; the command itself when absent. */
  program?: string;
  code: string;
}

export const EVERYDAY: EverydayCommand[] = [
  { id: "touch", code: `touch a && touch -d @1000 a && test "$(stat -c %Y a)" = 1000` },
  { id: "cp -p", program: "cp", code: `echo x > a && chmod 600 a && cp -p a b && cmp a b` },
  { id: "cp -a", program: "cp", code: `mkdir d && echo x > d/a && ln -s a d/l && cp -a d e && cmp d/a e/l` },
  { id: "mv", code: `echo x > a && mv a b && test -s b` },
  {
    id: "tar x",
    program: "tar",
    code: `mkdir d && echo x > d/a && tar cf t.tar d && rm -r d && tar xf t.tar && cmp d/a d/a`,
  },
  {
    id: "tar gzip",
    program: "tar",
    code: `mkdir d && echo x > d/a && tar czf t.tgz d && rm -r d && tar xzf t.tgz && test -s d/a`,
  },
  { id: "gzip", code: `echo hello > a && gzip a && gunzip a.gz && grep -q hello a` },
  { id: "chmod", code: `printf '#!/bin/sh\\nexit 0\\n' > a && chmod +x a && test -x a` },
  { id: "run a script of its own", program: "sh", code: `printf 'exit 7\\n' > a; sh a || test $? -eq 7` },
  {
    id: "install",
    code: `echo x > a && install -m 640 a b && install -d c/d && test "$(stat -c %a b)" = 640`,
  },
  {
    id: "git init",
    program: "git",
    code: `git init -q r && cd r && git config user.email a@b && git config user.name a && echo x > a && git add a && git commit -q -m x && git log --oneline | grep -q x`,
  },
  { id: "mkfifo", code: `mkfifo p && { echo hello > p & } && grep -q hello p` },
  { id: "setsid", code: `setsid sh -c 'echo hello > a' && setsid -w true && sleep 0.1 && grep -q hello a` },
  { id: "timeout", code: `timeout 5 echo hello | grep -q hello; timeout 0.2 sleep 5 || test $? -eq 124` },
  { id: "nice", code: `nice -n 5 true` },
  { id: "nohup", code: `nohup true > out 2>&1` },
  { id: "rsync -a", program: "rsync", code: `mkdir d && echo x > d/a && rsync -a d/ e/ && cmp d/a e/a` },
  {
    id: "logrotate",
    program: "/usr/sbin/logrotate",
    code: `echo line > a.log && printf '%s {\\n rotate 2\\n size 1\\n create\\n}\\n' "$PWD/a.log" > conf && chmod 600 conf && /usr/sbin/logrotate -f -s state conf && test -s a.log.1`,
  },
  { id: "sed -i", program: "sed", code: `echo hello > a && sed -i s/hello/bye/ a && grep -q bye a` },
  {
    id: "find -exec",
    program: "find",
    code: `mkdir d && : > d/a && : > d/b && test "$(find d -type f -exec echo {} \\; | wc -l)" = 2`,
  },
  {
    id: "find -delete",
    program: "find",
    code: `mkdir d && : > d/a && find d -name a -delete && test ! -e d/a`,
  },
  { id: "xargs -P", program: "xargs", code: `seq 8 | xargs -P 4 -n 1 echo | wc -l | grep -q 8` },
  {
    id: "python3 subprocess",
    program: "python3",
    code: `python3 -c 'import subprocess; assert subprocess.run(["echo", "hi"], capture_output=True).stdout == b"hi\\n"'`,
  },
  {
    id: "python3 tempfile",
    program: "python3",
    code: `python3 -c 'import os, shutil, tempfile; d = tempfile.mkdtemp(); open(d + "/a", "w").write("x"); os.chmod(d + "/a", 0o600); shutil.copy2(d + "/a", "b"); shutil.rmtree(d)'`,
  },
  {
    id: "python3 multiprocessing",
    program: "python3",
    code: `python3 -c 'import threading; t = threading.Thread(target=print); t.start(); t.join()
import concurrent.futures as c
with c.ThreadPoolExecutor(4) as p: assert sum(p.map(int, "1234")) == 10'`,
  },
  { id: "awk", code: `printf '1\\n2\\n3\\n' | awk '{ s += $1 } END { exit s != 6 }'` },
  {
    id: "sort of 10 MB",
    program: "sort",
    code: `awk 'BEGIN { for (i = 0; i < 600000; i++) print (i * 7919) % 1000003, "some text" }' > a && sort -n a -o b && test "$(wc -l < b)" = 600000`,
  },
  { id: "mktemp", code: `f=$(mktemp) && d=$(mktemp -d) && echo x > "$f" && rm -r "$f" "$d"` },
  {
    id: "ln -s",
    program: "ln",
    code: `echo x > a && ln -s a b && ln a c && cmp b c && readlink -f b | grep -q /a`,
  },
  { id: "dd", code: `dd if=/dev/zero of=a bs=64k count=16 status=none && test "$(stat -c %s a)" = 1048576` },
  { id: "truncate", code: `truncate -s 1000 a && test "$(stat -c %s a)" = 1000` },
  { id: "sha256sum", code: `echo x > a && sha256sum a > s && sha256sum -c s` },
  { id: "diff", code: `echo a > a && echo b > b; diff -u a b > d || test $? -eq 1` },
  { id: "patch", code: `echo a > a && echo b > b; diff -u a b > d || true; patch a d && cmp a b` },
  {
    id: "bash",
    code: `bash -c 'set -o pipefail; diff <(seq 3) <(seq 3) && [[ $(seq 5 | tail -n 1) == 5 ]] && ! false | true; a=(1 2 3); (( \${#a[@]} == 3 )); cat <<< here'`,
  },
  {
    id: "job control",
    program: "bash",
    code: `bash -c 'set -m; sleep 0.1 & sleep 5 & kill %2; wait %1; jobs > /dev/null'`,
  },
  {
    id: "trap and wait",
    program: "sh",
    code: `sh -c 'trap "exit 3" TERM; kill -TERM $$; sleep 1' || test $? -eq 3`,
  },
  { id: "flock", code: `flock lock -c 'echo held' | grep -q held` },
  { id: "curl --version", program: "curl", code: `curl --version | grep -q curl` },
  {
    id: "openssl",
    code: `openssl genrsa -out key 2048 2>/dev/null && echo hi | openssl dgst -sha256 -sign key -out sig && openssl rand -hex 8 | grep -q .`,
  },
  { id: "date", code: `test "$(TZ=UTC date -d @0 +%Y)" = 1970` },
  { id: "id", code: `id -u | grep -q '[0-9]'` },
  { id: "ps", code: `ps -o pid= -p $$ | grep -q '[0-9]'` },
  { id: "df", code: `df -P . | tail -n 1 | grep -q '[0-9]'` },
  { id: "du", code: `echo x > a && du -s . | grep -q '[0-9]'` },
  { id: "uname", code: `uname -r | grep -q '[0-9]'` },
  { id: "hostname", program: "uname", code: `uname -n | grep -q .` },
  { id: "getent", code: `getent passwd root | grep -q root` },
  { id: "head and tail", program: "tail", code: `seq 100 > a && head -n 3 a | tail -n 1 | grep -qx 3` },
  {
    id: "cut, tr, uniq",
    program: "cut",
    code: `printf 'a:b\\na:b\\n' | cut -d: -f2 | tr b c | uniq | grep -qx c`,
  },
  { id: "tee", code: `echo x | tee a | grep -q x && grep -q x a` },
  { id: "mkdir -p, rmdir", program: "mkdir", code: `mkdir -p a/b/c && rmdir -p a/b/c && test ! -e a` },
  { id: "perl", code: `perl -e 'open(F, ">a"); print F "x"; close F; rename "a", "b"; exit !(-s "b")'` },
];

/** One script of all: `BEGIN id`, then `OK id` or `FAILED id why` for each. */
export function everydayScript(commands: EverydayCommand[]): string {
  const parts = commands.map(
    ({ id, code }, at) => `
echo "BEGIN ${id}"
mkdir "$HOME/everyday-${at}" && cd "$HOME/everyday-${at}"
cat > "$HOME/command-${at}" <<'HOLDFAST_END'
set -e
${code}
HOLDFAST_END
said=$(sh "$HOME/command-${at}" 2>&1)
code=$?
if [ $code -eq 0 ]; then echo "OK ${id}"; else echo "FAILED ${id}: exit $code: $(printf %s "$said" | tr '\\n' ' ' | cut -c 1-300)"; fi
cd "$HOME" && rm -rf "$HOME/everyday-${at}"`,
  );
  return `export GIT_CONFIG_NOSYSTEM=1\n${parts.join("\n")}\n`;
}
