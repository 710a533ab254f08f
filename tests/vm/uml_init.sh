#!/bin/sh
# The first program inside user-mode Linux: root is this machine's file system, read-only.
# KNS_RESULTS, KNS_PROJECT, KNS_MODULES come from the kernel's command line.
set -eu
export PATH=/run/iptables-legacy:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
for fd in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
    ln -sf "${fd#*:}" "/dev/${fd%%:*}"
done

# before the /tmp of its own that would hide them
mkdir -p /run/out /run/project /run/modules/lib/modules
mount -t hostfs -o "$KNS_RESULTS" results /run/out
mount -t hostfs -o "$KNS_MODULES" modules /run/modules/lib/modules
mount --bind "$KNS_PROJECT" /run/project
for folder in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
if [ ! -e "$KNS_PROJECT/tests/vm/uml_init.sh" ]; then
    mkdir -p "$KNS_PROJECT"
    mount --bind /run/project "$KNS_PROJECT"
fi

# the kernel asks this program for every module that it needs
printf '#!/bin/sh\nexec modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod 755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
# kube-proxy needs these on a real node too
/run/modprobe -a br_netfilter ip_vs

# this kernel's nf_tables holds no rules of IPv4 and IPv6
mkdir /run/iptables-legacy
for name in iptables ip6tables; do
    for verb in "" -save -restore; do
        ln -s "$(command -v xtables-legacy-multi)" "/run/iptables-legacy/$name$verb"
    done
done
ip link set lo up
hostname uml
export HOME=/tmp KNS_VM=1 PYTHONDONTWRITEBYTECODE=1
cd "$KNS_PROJECT"

code=0
sh /run/out/command </dev/null >/run/out/log 2>&1 || code=$?
echo "$code" >/run/out/rc
exec busybox poweroff -f
