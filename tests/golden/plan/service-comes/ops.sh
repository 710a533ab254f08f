#!/bin/sh
set -eu
ip netns exec kns.golden.node1 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-EXT-5SXAMWEMC7JSPKWY - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SEP-RFJZDCWV2ZFHEZCT - [0:0]
:KUBE-SEP-UW4YLU3G2BCS7EJ5 - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-5SXAMWEMC7JSPKWY - [0:0]
-A KUBE-EXT-5SXAMWEMC7JSPKWY -m comment --comment "masquerade traffic for default/svc-b external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-5SXAMWEMC7JSPKWY -j KUBE-SVC-5SXAMWEMC7JSPKWY
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/svc-b" -m tcp --dport 30080 -j KUBE-EXT-5SXAMWEMC7JSPKWY
-A KUBE-SEP-RFJZDCWV2ZFHEZCT -s 10.244.1.2/32 -m comment --comment "default/svc-b" -j KUBE-MARK-MASQ
-A KUBE-SEP-RFJZDCWV2ZFHEZCT -p tcp -m comment --comment "default/svc-b" -m tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SEP-UW4YLU3G2BCS7EJ5 -s 10.244.0.2/32 -m comment --comment "default/svc-b" -j KUBE-MARK-MASQ
-A KUBE-SEP-UW4YLU3G2BCS7EJ5 -p tcp -m comment --comment "default/svc-b" -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-SERVICES -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-SVC-PYUKQ5O736Y2HVUG
-A KUBE-SERVICES -d 10.96.82.51/32 -p tcp -m comment --comment "default/svc-b cluster IP" -m tcp --dport 81 -j KUBE-SVC-5SXAMWEMC7JSPKWY
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-5SXAMWEMC7JSPKWY ! -s 10.244.0.0/16 -d 10.96.82.51/32 -p tcp -m comment --comment "default/svc-b cluster IP" -m tcp --dport 81 -j KUBE-MARK-MASQ
-A KUBE-SVC-5SXAMWEMC7JSPKWY -m comment --comment "default/svc-b -> 10.244.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-UW4YLU3G2BCS7EJ5
-A KUBE-SVC-5SXAMWEMC7JSPKWY -m comment --comment "default/svc-b -> 10.244.1.2:8080" -j KUBE-SEP-RFJZDCWV2ZFHEZCT
COMMIT
END
ip netns exec kns.golden.node2 iptables-restore -w --noflush --counters <<'END'
*nat
:KUBE-EXT-5SXAMWEMC7JSPKWY - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SEP-RFJZDCWV2ZFHEZCT - [0:0]
:KUBE-SEP-UW4YLU3G2BCS7EJ5 - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-5SXAMWEMC7JSPKWY - [0:0]
-A KUBE-EXT-5SXAMWEMC7JSPKWY -m comment --comment "masquerade traffic for default/svc-b external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-5SXAMWEMC7JSPKWY -j KUBE-SVC-5SXAMWEMC7JSPKWY
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/svc-b" -m tcp --dport 30080 -j KUBE-EXT-5SXAMWEMC7JSPKWY
-A KUBE-SEP-RFJZDCWV2ZFHEZCT -s 10.244.1.2/32 -m comment --comment "default/svc-b" -j KUBE-MARK-MASQ
-A KUBE-SEP-RFJZDCWV2ZFHEZCT -p tcp -m comment --comment "default/svc-b" -m tcp -j DNAT --to-destination 10.244.1.2:8080
-A KUBE-SEP-UW4YLU3G2BCS7EJ5 -s 10.244.0.2/32 -m comment --comment "default/svc-b" -j KUBE-MARK-MASQ
-A KUBE-SEP-UW4YLU3G2BCS7EJ5 -p tcp -m comment --comment "default/svc-b" -m tcp -j DNAT --to-destination 10.244.0.2:8080
-A KUBE-SERVICES -d 10.96.27.223/32 -p tcp -m comment --comment "default/svc-a cluster IP" -m tcp --dport 80 -j KUBE-SVC-PYUKQ5O736Y2HVUG
-A KUBE-SERVICES -d 10.96.82.51/32 -p tcp -m comment --comment "default/svc-b cluster IP" -m tcp --dport 81 -j KUBE-SVC-5SXAMWEMC7JSPKWY
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-5SXAMWEMC7JSPKWY ! -s 10.244.0.0/16 -d 10.96.82.51/32 -p tcp -m comment --comment "default/svc-b cluster IP" -m tcp --dport 81 -j KUBE-MARK-MASQ
-A KUBE-SVC-5SXAMWEMC7JSPKWY -m comment --comment "default/svc-b -> 10.244.0.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-UW4YLU3G2BCS7EJ5
-A KUBE-SVC-5SXAMWEMC7JSPKWY -m comment --comment "default/svc-b -> 10.244.1.2:8080" -j KUBE-SEP-RFJZDCWV2ZFHEZCT
COMMIT
END
