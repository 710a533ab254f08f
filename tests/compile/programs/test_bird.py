"""BIRD's configuration: what each node announces, what the router takes; BIRD itself reads it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kns.addresses import IPFamily
from kns.compile.programs import bird
from kns.kinds.networking import LoadBalancerOptions
from tests.balanced import POOL, balanced
from tests.clusters import make_cluster, make_network

NODE = """\
router id 172.18.0.4;
log stderr all;
protocol device {
}
protocol bfd {
  interface "eth0" {
    interval 200 ms;
    multiplier 3;
  };
}
protocol static announce_4 {
  ipv4;
  route 198.51.100.1/32 blackhole;
  route 198.51.100.3/32 blackhole;
}
protocol bgp router_4 {
  local 172.18.0.4 as 64512;
  neighbor 172.18.0.1 as 64513;
  hold time 3;
  keepalive time 1;
  connect retry time 1;
  connect delay time 0;
  error wait time 1, 2;
  bfd on;
  ipv4 {
    import none;
    export where proto = "announce_4";
    next hop self;
  };
}
"""


def test_a_node_announces_what_it_may_take() -> None:
    """node3 has no endpoint: not svc-local's address, 198.51.100.2."""
    cluster = balanced("bgp")
    assert bird.node_config(cluster, cluster.nodes[2]) == NODE
    assert "route 198.51.100.2/32 blackhole;" in bird.node_config(cluster, cluster.nodes[0])


def test_the_router_takes_routes_of_the_pool_alone_and_merges_equal_ones() -> None:
    config = bird.router_config(balanced("bgp"))
    assert config.count("import where net ~ [ 198.51.100.0/24+ ]; export none;") == 3
    assert "merge paths on limit 64;" in config
    assert "ipv4 { import none; export where source = RTS_BGP; };" in config
    assert [line.split()[1] for line in config.splitlines() if "  neighbor" in line] == [
        "172.18.0.2",
        "172.18.0.3",
        "172.18.0.4",
    ]


def dual_stack() -> list[str]:
    cluster = make_cluster(network=make_network((IPFamily.IPV6, IPFamily.IPV4)))
    pools = (POOL, ip_network("2001:db8:77::/64"))
    network = replace(cluster.network, load_balancer=LoadBalancerOptions("bgp", pools))
    cluster = replace(cluster, network=network)
    return [bird.router_config(cluster), bird.node_config(cluster, cluster.nodes[0])]


def test_both_families_have_a_session_each() -> None:
    router, node = dual_stack()
    assert "import where net ~ [ 2001:db8:77::/64+ ]; export none;" in router
    assert node.count("protocol bgp") == 2


def test_a_router_id_without_ipv4_looks_like_an_address() -> None:
    cluster = make_cluster(network=make_network((IPFamily.IPV6,)))
    network = replace(cluster.network, load_balancer=LoadBalancerOptions("bgp", ()))
    config = bird.node_config(replace(cluster, network=network), cluster.nodes[1])
    assert ip_address(config.split()[2].rstrip(";")).version == 4


@pytest.mark.skipif(shutil.which("bird", path="/usr/sbin:/usr/bin") is None, reason="no BIRD")
def test_bird_reads_them(tmp_path: Path) -> None:
    cluster = balanced("bgp")
    texts = [bird.router_config(cluster), *dual_stack()]
    texts += [bird.node_config(cluster, node) for node in cluster.nodes]
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.conf"
        file.write_text(text, encoding="utf-8")
        command = [shutil.which("bird", path="/usr/sbin:/usr/bin") or "", "-p", "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode, done.stderr) == (0, "")
