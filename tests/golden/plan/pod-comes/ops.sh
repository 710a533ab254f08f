#!/bin/sh
set -eu
ip netns add kns.golden.pod3
ip netns exec kns.golden.pod3 sysctl -qw net/ipv6/conf/all/disable_ipv6=1
ip -n kns.golden.node1 link add veth64013289 address 62:ec:79:96:d6:6c mtu 1500 master cni0 up type veth peer name eth0 address 42:46:23:fb:8b:08 mtu 1500 netns kns.golden.pod3
ip -n kns.golden.node1 link set veth64013289 alias 'pod default/pod3 eth0'
bridge -n kns.golden.node1 link set dev veth64013289 hairpin on
ip -n kns.golden.pod3 link set lo up
ip -n kns.golden.pod3 link set eth0 up
ip -n kns.golden.pod3 addr add 10.244.0.3/24 dev eth0
ip -n kns.golden.pod3 route add 0.0.0.0/0 via 10.244.0.1 dev eth0
ip netns exec kns.golden.node1 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-SEP-UQ4JVY6FMZ3NLCHP - [0:0]
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
-A KUBE-SEP-UQ4JVY6FMZ3NLCHP -s 10.244.0.3/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-UQ4JVY6FMZ3NLCHP -p tcp -m comment --comment "default/svc-a" -m tcp -j DNAT --to-destination 10.244.0.3:8080
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.3:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-UQ4JVY6FMZ3NLCHP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -j KUBE-SEP-N53TKBNELZYAOUD7
COMMIT
END
ip netns exec kns.golden.node2 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-SEP-UQ4JVY6FMZ3NLCHP - [0:0]
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
-A KUBE-SEP-UQ4JVY6FMZ3NLCHP -s 10.244.0.3/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-UQ4JVY6FMZ3NLCHP -p tcp -m comment --comment "default/svc-a" -m tcp -j DNAT --to-destination 10.244.0.3:8080
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.3:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-UQ4JVY6FMZ3NLCHP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -j KUBE-SEP-N53TKBNELZYAOUD7
COMMIT
END
