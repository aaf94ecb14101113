#!/usr/bin/env bash
# build-image.sh FOLDER: a Debian with systemd that guest tests boot, as root on a Debian-like host with mmdebstrap.
#   FOLDER/root.img        its root file system (ext4, sparse); a run writes to a throw-away layer over it
#   FOLDER/vmlinuz-VERSION the kernels to choose from
# Nothing is installed as a boot loader or initramfs: Debian's cloud kernels have NVMe and ext4 built in, and qemu loads
# a kernel by itself.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8
folder=${1:?usage: build-image.sh FOLDER}
suite=bookworm
kernels="linux-image-cloud-amd64 linux-image-6.12-cloud-amd64"
packages=systemd,systemd-sysv,udev,dbus,libnss-systemd,iproute2,procps,kmod,util-linux
# What plugins' scripts and the table of everyday commands call.
packages+=,ca-certificates,curl,git,logrotate,openssl,patch,psmisc,python3,rsync,xz-utils

mkdir -p "$folder"
work=$(mktemp -d "$folder/building.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"
root=$work/root
mkdir "$work/kernels"

# The hook runs while the new system's package lists are still there, so the host's own lists do not matter.
cat >"$work/fetch-kernels" <<HOOK
#!/bin/sh
set -eu
export APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG
cd "$work/kernels"
for name in $kernels; do
  image=\$(apt-cache depends "\$name" | sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)/\1/p' | head -n 1)
  apt-get -qq -o APT::Sandbox::User=root download "\$image"
done
HOOK
chmod 755 "$work/fetch-kernels"

left_out=()
for path in doc man locale info; do left_out+=("--dpkgopt=path-exclude=/usr/share/$path/*"); done
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "3"' --include="$packages" "${left_out[@]}" \
  --customize-hook="$work/fetch-kernels" "$suite" "$root"

for archive in "$work"/kernels/*.deb; do
  dpkg-deb -x "$archive" "$work/unpacked"
  version=$(basename "$work"/unpacked/boot/vmlinuz-*)
  version=${version#vmlinuz-}
  cp "$work/unpacked/boot/vmlinuz-$version" "$folder/"
  mkdir -p "$root/lib/modules"
  cp -a "$work/unpacked/lib/modules/$version" "$root/lib/modules/"
  chroot "$root" depmod "$version"
  rm -rf "$work/unpacked"
done

echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$root/etc/hosts"
: >"$root/etc/fstab"
: >"$root/etc/resolv.conf"
# A machine that knows its id does not take this for its first boot.
echo 00112233445566778899aabbccddeeff >"$root/etc/machine-id"
chroot "$root" useradd --system --create-home --home-dir /home/watcher --shell /bin/bash watcher

units=$root/etc/systemd/system
mkdir -p "$units/multi-user.target.wants" "$root/mnt/share"
for unit in getty.target console-getty.service getty@tty1.service serial-getty@ttyS0.service apt-daily.timer \
  apt-daily-upgrade.timer dpkg-db-backup.timer logrotate.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
  ln -sf /dev/null "$units/$unit"
done
ln -s ../guest-job.service "$units/multi-user.target.wants/guest-job.service"
cat >"$units/guest-job.service" <<'UNIT'
[Unit]
Description=Job of this guest

[Service]
Type=exec
ExecStart=/usr/local/sbin/guest-job
UNIT
cat >"$root/usr/local/sbin/guest-job" <<'JOB'
#!/bin/bash
# Runs /mnt/share/job (the second disk), says what it says on the second serial port, leaves its exit code, turns off.
export HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec >/dev/ttyS1 2>&1 </dev/null
stty raw -echo </dev/ttyS1
udevadm settle
mount -t ext4 /dev/disk/by-id/virtio-share /mnt/share
systemctl is-system-running --wait >/dev/null
cd /mnt/share
mkdir -p out
bash ./job
echo $? >out/exit-code
cd /
sync
umount /mnt/share || mount -o remount,ro /mnt/share
systemctl poweroff --force --no-wall
JOB
chmod 755 "$root/usr/local/sbin/guest-job"

truncate -s 3G "$work/root.img"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$root" "$work/root.img"
mv "$work/root.img" "$folder/root.img"
