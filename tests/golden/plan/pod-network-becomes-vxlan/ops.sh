#!/bin/sh
set -eu
ip -n kns.golden.node1 link add flannel.1 address 3e:4b:a6:85:cc:10 mtu 1450 type vxlan id 1 local 172.18.0.2 dev eth0 dstport 8472 nolearning
ip -n kns.golden.node2 link add flannel.1 address 6e:7f:35:b5:2e:26 mtu 1450 type vxlan id 1 local 172.18.0.3 dev eth0 dstport 8472 nolearning
ip -n kns.golden.node1 link set cni0 mtu 1450
ip -n kns.golden.node1 link set veth6e244c18 mtu 1450
ip -n kns.golden.node1 link set flannel.1 up
ip -n kns.golden.node2 link set cni0 mtu 1450
ip -n kns.golden.node2 link set vetha2e716fc mtu 1450
ip -n kns.golden.node2 link set flannel.1 up
ip -n kns.golden.pod1 link set eth0 mtu 1450
ip -n kns.golden.pod2 link set eth0 mtu 1450
ip -n kns.golden.node1 addr add 10.244.0.0/32 dev flannel.1
ip -n kns.golden.node1 neigh replace 10.244.1.0 lladdr 6e:7f:35:b5:2e:26 dev flannel.1 nud permanent
bridge -n kns.golden.node1 fdb replace 6e:7f:35:b5:2e:26 dev flannel.1 dst 172.18.0.3 self permanent
ip -n kns.golden.node1 route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
ip -n kns.golden.node2 addr add 10.244.1.0/32 dev flannel.1
ip -n kns.golden.node2 neigh replace 10.244.0.0 lladdr 3e:4b:a6:85:cc:10 dev flannel.1 nud permanent
bridge -n kns.golden.node2 fdb replace 3e:4b:a6:85:cc:10 dev flannel.1 dst 172.18.0.2 self permanent
ip -n kns.golden.node2 route replace 10.244.0.0/24 via 10.244.0.0 dev flannel.1 onlink
