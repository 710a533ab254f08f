#!/bin/sh
#   guest.sh [PROJECT]
# Runs as root inside the VM: puts the host's files under a root that caches them, then runs
# /run/out/command (its output to /run/out/log, its exit code to /run/out/rc), or a shell if there
# is none.
#
# virtme-ng's own root is a 9p mount without cache: every import of Python asks the host for every
# file again, which takes three times as long as under software emulation anyway.
set -eu

if [ "${KNS_VM_STAGE:-}" != pivoted ]; then
    if [ ! -d /run/project ]; then # started by its own path, as the shell of `make vm`
        mkdir -p /run/project
        mount -t 9p -o trans=virtio,msize=512000,cache=loose,ro project /run/project
    fi
    mkdir -p /run/out
    mount -t 9p -o trans=virtio,msize=512000,cache=none results /run/out
    # kube-proxy needs these on a real node too; the kernel loads everything else by itself
    modprobe -a br_netfilter ip_vs || echo "modprobe: some modules are missing" >&2
    export KNS_VM_STAGE=pivoted
    exec unshare --mount --propagation private -- "$0" "$@"
fi

project=${1:-${0%/tests/vm/guest.sh}}

root=/mnt
mount -t 9p -o trans=virtio,msize=512000,cache=loose,ro host "$root"
if [ ! -d "$root/usr/lib/modules" ]; then
    # the host runs a kernel without modules: make the folder that this kernel's are mounted on
    mkdir -p /run/overlay/upper/modules /run/overlay/work
    mount -t overlay -o "lowerdir=$root/usr/lib,upperdir=/run/overlay/upper,workdir=/run/overlay/work" \
        overlay "$root/usr/lib"
fi
for folder in proc sys dev run usr/lib/modules; do
    mount --rbind "/$folder" "$root/$folder"
done
for folder in tmp var/tmp; do
    mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"
done
if [ ! -e "$root$project/tests/vm/guest.sh" ]; then
    mkdir -p "$root$project"
    mount --bind /run/project "$root$project"
fi
cd "$root"
pivot_root . mnt
umount -l /mnt
cd "$project"
export HOME=/tmp KNS_VM=1 PYTHONDONTWRITEBYTECODE=1 KNS_LIVE_AFTER=3600

if [ -e /run/out/command ]; then
    code=0
    sh /run/out/command >/run/out/log 2>&1 || code=$?
    echo "$code" >/run/out/rc
else
    echo "kns: $(uname -r), this machine's files read-only, the project's programs in PATH"
    export PATH="$PWD/.venv/bin:$PATH"
    exec bash
fi
