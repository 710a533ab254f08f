#!/bin/sh
set -eu
ip -n kns.golden.node2 link delete vetha2e716fc
ip netns delete kns.golden.pod2
ip netns exec kns.golden.node1 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
:KUBE-SEP-N53TKBNELZYAOUD7 - [0:0]
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -j KUBE-SEP-6MFK7XLGGMGKEHCP
-X KUBE-SEP-N53TKBNELZYAOUD7
COMMIT
END
ip netns exec kns.golden.node2 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
:KUBE-SEP-N53TKBNELZYAOUD7 - [0:0]
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -j KUBE-SEP-6MFK7XLGGMGKEHCP
-X KUBE-SEP-N53TKBNELZYAOUD7
COMMIT
END
