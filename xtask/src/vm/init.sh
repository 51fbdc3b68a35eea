#!/bin/sh
# The guest's first process: sets the machine up, runs the end-to-end tests once per hook plan, powers off.
# Lines that begin with "@@KA" are for the host (console.rs reads them). Locked-memory limits stay as they are:
# raising them where an old kernel needs it is the daemon's own duty.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/busybox HOME=/root TERM=linux
/bin/busybox mkdir -p /busybox /proc /sys /dev /tmp /run
/bin/busybox --install -s /busybox

off() { sync; reboot -f; }
must() { "$@" || { echo "@@KA BROKEN cannot run in the guest: $*"; off; }; }

must mount -t proc proc /proc
must mount -t sysfs sys /sys
must mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
must mount -t devpts devpts /dev/pts
must mount -t tmpfs shm /dev/shm
must mount -t tmpfs tmp /tmp
must mount -t tmpfs run /run
mkdir -p /run/netns /run/lock
must mount -t bpf bpf /sys/fs/bpf
must mount -t debugfs debug /sys/kernel/debug
must mount -t tracefs trace /sys/kernel/tracing
must mount -t cgroup2 cgroup /sys/fs/cgroup
exec </dev/console >/dev/console 2>&1
must ip link set lo up
ulimit -n 1048576
hostname guest
# Others load when something asks for them: the kernel calls /sbin/modprobe.
for module in veth nf_tables tcp_diag; do must modprobe "$module"; done

cd /ka || off
# On the kernel's command line.
if [ -z "$ka_plans" ]; then
    echo "Kernel $(uname -r). The programs are in /ka; 'exit' ends the guest."
    setsid cttyhack sh
    off
fi
filter=$(cat /ka/filter 2>/dev/null)
# Kernel messages in the middle of a test's line would garble both; after each plan they are printed as a block.
dmesg -n 1
for plan in $(echo "$ka_plans" | tr , " "); do
    dmesg -c >/dev/null
    echo "@@KA BEGIN $plan $(uname -r)"
    KA_DAEMON=/ka/ka-daemon KA_E2E_TOOLS=/ka/programs KA_E2E_EMULATED=1 \
        /ka/e2e --hooks "$plan" --jobs 8 ${filter:+--filter "$filter"} </dev/null 2>&1
    status=$?
    echo
    echo "@@KA END $plan $status"
    dmesg -c
    echo "@@KA DMESG $plan"
done
echo "@@KA DONE"
off
