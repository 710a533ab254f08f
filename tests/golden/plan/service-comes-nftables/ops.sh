#!/bin/sh
set -eu
ip netns exec kns.golden.node1 nft -f - <<'END'
table ip kube-proxy {
	comment "rules for kube-proxy"
	chain service-LPXZOQD7-default/svc-b/tcp/ {
		meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.1.2 . 8080 }
	}
	chain external-LPXZOQD7-default/svc-b/tcp/ {
		meta mark set meta mark | 0x00004000 comment "masquerade"
		goto service-LPXZOQD7-default/svc-b/tcp/
	}
}
add element ip kube-proxy cluster-ips { 10.96.82.51 }
add element ip kube-proxy service-ips { 10.96.82.51 . tcp . 81 : goto service-LPXZOQD7-default/svc-b/tcp/ }
add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-LPXZOQD7-default/svc-b/tcp/ }
END
ip netns exec kns.golden.node2 nft -f - <<'END'
table ip kube-proxy {
	comment "rules for kube-proxy"
	chain service-LPXZOQD7-default/svc-b/tcp/ {
		meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.1.2 . 8080 }
	}
	chain external-LPXZOQD7-default/svc-b/tcp/ {
		meta mark set meta mark | 0x00004000 comment "masquerade"
		goto service-LPXZOQD7-default/svc-b/tcp/
	}
}
add element ip kube-proxy cluster-ips { 10.96.82.51 }
add element ip kube-proxy service-ips { 10.96.82.51 . tcp . 81 : goto service-LPXZOQD7-default/svc-b/tcp/ }
add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-LPXZOQD7-default/svc-b/tcp/ }
END
