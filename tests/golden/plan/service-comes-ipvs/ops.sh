#!/bin/sh
set -eu
ip -n kns.golden.node1 addr add 10.96.82.51/32 dev kube-ipvs0
ip -n kns.golden.node2 addr add 10.96.82.51/32 dev kube-ipvs0
ip netns exec kns.golden.node1 ipset restore <<'END'
add KUBE-CLUSTER-IP 10.96.82.51,tcp:81
add KUBE-IPVS-IPS 10.96.82.51
END
ip netns exec kns.golden.node1 ipvsadm -A -t 10.96.82.51:81 -s rr
ip netns exec kns.golden.node1 ipvsadm -a -t 10.96.82.51:81 -r 10.244.0.2:8080 -m -w 1
ip netns exec kns.golden.node1 ipvsadm -a -t 10.96.82.51:81 -r 10.244.1.2:8080 -m -w 1
ip netns exec kns.golden.node2 ipset restore <<'END'
add KUBE-CLUSTER-IP 10.96.82.51,tcp:81
add KUBE-IPVS-IPS 10.96.82.51
END
ip netns exec kns.golden.node2 ipvsadm -A -t 10.96.82.51:81 -s rr
ip netns exec kns.golden.node2 ipvsadm -a -t 10.96.82.51:81 -r 10.244.0.2:8080 -m -w 1
ip netns exec kns.golden.node2 ipvsadm -a -t 10.96.82.51:81 -r 10.244.1.2:8080 -m -w 1
