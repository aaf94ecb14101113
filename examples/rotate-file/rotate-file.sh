#!/bin/sh
# A plain script: it knows nothing of the agent but its environment. Exit code 0 is success; what it prints is the
# output of the step as `raw_output`; the end of stderr is the reason of a failure.
set -eu
file=$HOLDFAST_INPUT_PATH

if [ ! -e "$file" ]; then
  echo "there is no file $file" >&2
  exit 1
fi
n=$HOLDFAST_INPUT_KEEP
while [ "$n" -gt 1 ]; do
  if [ -e "$file.$((n - 1))" ]; then mv -f "$file.$((n - 1))" "$file.$n"; fi
  n=$((n - 1))
done
mv -f "$file" "$file.1"
echo "moved $file to $file.1"
