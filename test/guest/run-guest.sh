#!/usr/bin/env bash
# run-guest.sh IMAGE-FOLDER KERNEL SHARE [KERNEL-ARGUMENT...]
# Boots the image of build-image.sh with the newest kernel whose version starts with KERNEL, on an emulated machine (no
# KVM, no network but loopback, no root needed). A copy of SHARE is the second disk there; `SHARE/job` is run by bash as
# root, and its output is printed here. The exit code is the job's; 124 when this was told to end (SIGTERM), 125 when the
# guest ended without one. The end of its console says why.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
[ $# -ge 3 ] || { sed -n 2,6p "$0" >&2; exit 2; }
image=$1 kernel=$2 share=$3
shift 3

kernels=("$image/vmlinuz-$kernel"*)
[ -e "${kernels[-1]}" ] || { echo "run-guest: there is no kernel $kernel in $image" >&2; exit 2; }
work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-guest.XXXXXX")
machine='' stopped=''
trap '[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
trap 'stopped=yes; [ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true' INT TERM

megabytes=$(du -sm "$share" | cut -f 1)
truncate -s $((megabytes * 5 / 4 + 700))M "$work/share.img"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$share" "$work/share.img"
[ -z "$stopped" ] || exit 124

arguments="root=/dev/nvme0n1 rw rootfstype=ext4 console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off tsc=reliable"
arguments+=" no_timer_check systemd.show_status=0 $*"
# The share is another kind of disk: which of two NVMe disks is the first is not certain. No guest outlives this script.
setpriv --pdeathsig=KILL qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -monitor none \
  -M q35,hpet=off -accel tcg,thread=multi,tb-size=512 -cpu max -m 2048 -smp 2 \
  -kernel "${kernels[-1]}" -append "$arguments" \
  -drive "file=$image/root.img,format=raw,if=none,id=root,snapshot=on" -device nvme,drive=root,serial=root \
  -drive "file=$work/share.img,format=raw,if=none,id=share,cache=unsafe" -device virtio-blk-pci,drive=share,serial=share \
  -serial "file:$work/console" -serial stdio </dev/null 2>"$work/errors" &
machine=$!
while kill -0 "$machine" 2>/dev/null; do { wait "$machine" || true; } 2>/dev/null; done
machine=

code=$(debugfs -R "cat out/exit-code" "$work/share.img" 2>/dev/null || true)
if [ -z "$stopped" ] && [ -n "$code" ]; then exit "$code"; fi

[ -z "$stopped" ] && code=125 why="ended without an exit code" || code=124 why="was ended from outside"
echo "run-guest: the guest $why; the end of its console:" >&2
tail -n 30 "$work/errors" "$work/console" >&2 || true
exit "$code"
