#!/bin/sh
set -eu
[ -d /proc/sys/net/bridge ] || modprobe br_netfilter
ip netns add kns.golden.node3
ip netns exec kns.golden.node3 sysctl -qw net/ipv6/conf/all/disable_ipv6=1
ip netns exec kns.golden.node3 sysctl -qw net/ipv4/ip_forward=1
ip netns exec kns.golden.node3 sysctl -qw net/ipv4/conf/all/rp_filter=0
ip netns exec kns.golden.node3 sysctl -qw net/ipv4/conf/default/rp_filter=0
ip netns exec kns.golden.node3 sysctl -qw net/bridge/bridge-nf-call-iptables=1
ip netns exec kns.golden.node3 sysctl -qw net/netfilter/nf_conntrack_tcp_timeout_established=86400
ip netns exec kns.golden.node3 sysctl -qw net/netfilter/nf_conntrack_tcp_timeout_close_wait=3600
ip netns exec kns.golden.node3 sysctl -qw net/netfilter/nf_conntrack_tcp_be_liberal=0
ip netns exec kns.golden.node3 sysctl -qw net/ipv4/conf/all/route_localnet=1
ip netns exec kns.golden.node3 sysctl -qw net/ipv4/conf/all/arp_ignore=0
ip netns exec kns.golden.node3 sysctl -qw net/ipv4/conf/all/arp_announce=0
ip -n kns.golden.fabric link add node3 address aa:d4:75:0c:56:31 mtu 1500 master underlay up type veth peer name eth0 address a6:31:dc:0b:ff:89 mtu 1500 netns kns.golden.node3
ip -n kns.golden.node3 link add cni0 address ba:73:43:28:19:bd mtu 1500 type bridge
ip -n kns.golden.fabric link set node3 alias 'to node3 eth0'
ip -n kns.golden.node3 link set lo up
ip -n kns.golden.node3 link set eth0 up
ip -n kns.golden.node3 link set lo up
ip -n kns.golden.node3 link set lo up
ip -n kns.golden.node3 link set cni0 up
ip -n kns.golden.node1 route add 10.244.2.0/24 via 172.18.0.4 dev eth0
ip -n kns.golden.node2 route add 10.244.2.0/24 via 172.18.0.4 dev eth0
ip -n kns.golden.node3 addr add 172.18.0.4/24 dev eth0
ip -n kns.golden.node3 addr add 10.244.2.1/24 dev cni0
ip -n kns.golden.node3 route add 0.0.0.0/0 via 172.18.0.1 dev eth0
ip -n kns.golden.node3 route add 10.244.0.0/24 via 172.18.0.2 dev eth0
ip -n kns.golden.node3 route add 10.244.1.0/24 via 172.18.0.3 dev eth0
ip netns exec kns.golden.node3 iptables-restore -w --noflush --counters <<'END'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
:FLANNEL-FWD - [0:0]
-F
-A INPUT -j KUBE-FIREWALL
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A OUTPUT -j KUBE-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-PROXY-CANARY - [0:0]
-F
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-6MFK7XLGGMGKEHCP - [0:0]
:KUBE-SEP-N53TKBNELZYAOUD7 - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-PYUKQ5O736Y2HVUG - [0:0]
:FLANNEL-POSTRTG - [0:0]
-F
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-6MFK7XLGGMGKEHCP -s 10.244.0.2/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-6MFK7XLGGMGKEHCP -p tcp -m comment --comment "default/svc-a" -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-SEP-N53TKBNELZYAOUD7 -s 10.244.1.2/32 -m comment --comment "default/svc-a" -j KUBE-MARK-MASQ
-A KUBE-SEP-N53TKBNELZYAOUD7 -p tcp -m comment --comment "default/svc-a" -m tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SERVICES -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-SVC-PYUKQ5O736Y2HVUG
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-PYUKQ5O736Y2HVUG ! -s 10.244.0.0/16 -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-6MFK7XLGGMGKEHCP
-A KUBE-SVC-PYUKQ5O736Y2HVUG -m comment --comment "default/svc-a -> 10.244.1.2:8080" -j KUBE-SEP-N53TKBNELZYAOUD7
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.2.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.2.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.2.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
END
ip netns exec kns.golden.node3 ip6tables-restore -w --noflush --counters <<'END'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-F
-A INPUT -j KUBE-FIREWALL
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-PROXY-CANARY - [0:0]
-F
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
-F
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SERVICES ! -d ::1/128 -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
END
