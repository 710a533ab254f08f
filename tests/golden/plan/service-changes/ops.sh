#!/bin/sh
set -eu
ip netns exec kns.golden.node1 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-SEP-6MFK7XLGGMGKEHCP - [0:0]
:KUBE-SEP-N53TKBNELZYAOUD7 - [0:0]
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
-A KUBE-SEP-6MFK7XLGGMGKEHCP -s 10.244.0.2/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-6MFK7XLGGMGKEHCP -p tcp -m comment --comment "default/svc-a" -m recent --set --name KUBE-SEP-6MFK7XLGGMGKEHCP --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-SEP-N53TKBNELZYAOUD7 -s 10.244.1.2/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-N53TKBNELZYAOUD7 -p tcp -m comment --comment "default/svc-a" -m recent --set --name KUBE-SEP-N53TKBNELZYAOUD7 --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-6MFK7XLGGMGKEHCP --mask 255.255.255.255 --rsource -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-N53TKBNELZYAOUD7 --mask 255.255.255.255 --rsource -j KUBE-SEP-N53TKBNELZYAOUD7
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -j KUBE-SEP-N53TKBNELZYAOUD7
COMMIT
END
ip netns exec kns.golden.node2 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-SEP-6MFK7XLGGMGKEHCP - [0:0]
:KUBE-SEP-N53TKBNELZYAOUD7 - [0:0]
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
-A KUBE-SEP-6MFK7XLGGMGKEHCP -s 10.244.0.2/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-6MFK7XLGGMGKEHCP -p tcp -m comment --comment "default/svc-a" -m recent --set --name KUBE-SEP-6MFK7XLGGMGKEHCP --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-SEP-N53TKBNELZYAOUD7 -s 10.244.1.2/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-N53TKBNELZYAOUD7 -p tcp -m comment --comment "default/svc-a" -m recent --set --name KUBE-SEP-N53TKBNELZYAOUD7 --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-6MFK7XLGGMGKEHCP --mask 255.255.255.255 --rsource -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-N53TKBNELZYAOUD7 --mask 255.255.255.255 --rsource -j KUBE-SEP-N53TKBNELZYAOUD7
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -j KUBE-SEP-N53TKBNELZYAOUD7
COMMIT
END
