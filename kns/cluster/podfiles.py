"""The files by which a pod resolves names: resolv.conf, hosts, nsswitch.conf, and its hostname.

    dnsPolicy ──▶ servers, search list, options ──dnsConfig appends, overrides──▶ limits ──▶ text

Pure text; who writes it and binds it over /etc is another's business. Source: kubelet's
pkg/kubelet/network/dns/dns.go and pkg/kubelet/kubelet_pods.go; the order of resolv.conf's lines is
containerd's (internal/cri/server, parseDNSOptions).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.cluster.internet_dns import upstream_servers
from kns.cluster.model import Cluster
from kns.cluster.words import word, word_with_colons
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import DNSConfig, DNSPolicy, Pod

#: pkg/apis/core/validation: MaxDNSNameservers, MaxDNSSearchPaths, MaxDNSSearchListChars
NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_CHARS_MAX = 2048
#: RFC 1123; glibc 2.28 aborts on a longer search domain
DOMAIN_MAX = 253
#: kubelet's hostnameMaxLen, that of a label (RFC 1123)
HOSTNAME_MAX = 63
#: kubelet's defaultDNSOptions
CLUSTER_OPTIONS = ("ndots:5",)

#: no nss-resolve, no nss-mdns: a pod asks the servers of its resolv.conf and nobody else
NSSWITCH = """\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""

#: kubelet's managedHostsFileContent
POD_HOSTS_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
#: kubelet's managedHostsHeaderWithHostNetwork
HOST_NETWORK_HOSTS_HEAD = "# Kubernetes-managed hosts file (host network).\n"
HOST_HOSTS_HEAD = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says. Options are written as in the file: `ndots:5`, `use-vc`."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The file's text."""
        lines = [f"search {' '.join(map(word, self.searches))}"] if self.searches else []
        lines += [f"nameserver {server}" for server in self.nameservers]
        options = map(word_with_colons, self.options)
        lines += [f"options {' '.join(options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)

    @staticmethod
    def parse(text: str) -> ResolvConf:
        """Read a file as glibc does: the last search (or domain) line counts, options add up."""
        servers: list[str] = []
        searches: tuple[str, ...] = ()
        options: list[str] = []
        for line in text.splitlines():
            if line.startswith(("#", ";")):
                continue
            match line.split():
                case ["nameserver", server, *_]:
                    servers.append(server)
                case ["search" | "domain", *names]:
                    searches = tuple(names)
                case ["options", *words]:
                    options += words
                case _:  # sortlist, and what nobody knows
                    pass
        return ResolvConf(tuple(servers[:NAMESERVERS_MAX]), searches, tuple(options))


def pod_files(cluster: Cluster, pod: Pod) -> Mapping[str, str]:
    """A pod's files by their names in /etc."""
    return {
        "resolv.conf": pod_resolv_conf(cluster, pod).text,
        "hosts": _pod_hosts(cluster, pod),
        "nsswitch.conf": NSSWITCH,
    }


def node_files(cluster: Cluster, node: Node) -> Mapping[str, str]:
    """A node's files; like kind's nodes it knows the other nodes by name."""
    return {
        "resolv.conf": host_resolv_conf(cluster).text,
        "hosts": _node_hosts(cluster, node.name),
        "nsswitch.conf": NSSWITCH,
    }


def _node_hosts(cluster: Cluster, name: str) -> str:
    """A node's hosts file: itself first."""
    nodes = sorted(cluster.nodes, key=lambda node: node.name != name)
    return HOST_HOSTS_HEAD + "".join(_hosts_lines(node.addresses, node.name) for node in nodes)


def internet_files(cluster: Cluster, host: InternetHost) -> Mapping[str, str]:
    """The files of a host outside the cluster."""
    return {
        "resolv.conf": host_resolv_conf(cluster).text,
        "hosts": HOST_HOSTS_HEAD + _hosts_lines(host.addresses, host.name),
        "nsswitch.conf": NSSWITCH,
    }


def pod_hostname(pod: Pod) -> str:
    """The pod's hostname: spec.hostname or its name, cut as kubelet's truncatePodHostname does.

    In the host network it is the node's.
    """
    if pod.host_network:
        return pod.node
    return (pod.hostname or pod.name)[:HOSTNAME_MAX].rstrip("-.")


def host_resolv_conf(cluster: Cluster) -> ResolvConf:
    """What nodes have, and pods with dnsPolicy Default."""
    servers = tuple(str(address) for address in upstream_servers(cluster))
    return ResolvConf(servers[:NAMESERVERS_MAX])


def pod_resolv_conf(cluster: Cluster, pod: Pod) -> ResolvConf:
    """What kubelet writes for the pod's dnsPolicy and dnsConfig."""
    return _limited(_with_config(_by_policy(cluster, pod), pod.dns_config))


def _by_policy(cluster: Cluster, pod: Pod) -> ResolvConf:
    if pod.dns_policy is DNSPolicy.NONE:
        return ResolvConf()
    host = host_resolv_conf(cluster)
    dns = cluster.network.dns
    # without a cluster DNS kubelet warns (MissingClusterDNS) and falls back to Default
    if not (pod.asks_cluster_dns and dns.enabled and dns.service_ips):
        return host
    domain = dns.domain.rstrip(".")
    searches = (f"{pod.namespace}.svc.{domain}", f"svc.{domain}", domain)
    return ResolvConf(
        tuple(str(address) for address in dns.service_ips),
        _without_duplicates((*searches, *host.searches)),
        CLUSTER_OPTIONS,
    )


def _with_config(base: ResolvConf, config: DNSConfig) -> ResolvConf:
    """dnsConfig: servers and domains are appended, options of the same name replaced."""
    options: dict[str, str] = {}
    for option in base.options:
        name, _, value = option.partition(":")
        options[name] = value
    for entry in config.options:
        options[entry.name] = entry.value or ""
    servers = (*base.nameservers, *(str(address) for address in config.nameservers))
    return ResolvConf(
        _without_duplicates(servers),
        _without_duplicates((*base.searches, *config.searches)),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
    )


def _limited(conf: ResolvConf) -> ResolvConf:
    """Leave out what is over kubelet's limits; it does so with an event on the pod."""
    searches = [name for name in conf.searches[:SEARCHES_MAX] if len(name) <= DOMAIN_MAX]
    while len(" ".join(searches)) > SEARCH_CHARS_MAX:
        searches.pop()
    return ResolvConf(conf.nameservers[:NAMESERVERS_MAX], tuple(searches), conf.options)


def _pod_hosts(cluster: Cluster, pod: Pod) -> str:
    aliases = _alias_lines(pod)
    if pod.host_network:
        return HOST_NETWORK_HOSTS_HEAD + _node_hosts(cluster, pod.node) + aliases
    hostname = pod_hostname(pod)
    names = [hostname]
    if pod.subdomain:
        domain = cluster.network.dns.domain.rstrip(".")
        names = [f"{hostname}.{pod.subdomain}.{pod.namespace}.svc.{domain}", hostname]
    return POD_HOSTS_HEAD + _hosts_lines(pod.addresses, *names) + aliases


def _alias_lines(pod: Pod) -> str:
    """kubelet's hostsEntriesFromHostAliases: a line for each address, after a blank one."""
    if not pod.host_aliases:
        return ""
    lines = (_hosts_lines((alias.ip,), *alias.hostnames) for alias in pod.host_aliases)
    return f"\n# Entries added by HostAliases.\n{''.join(lines)}"


def _hosts_lines(addresses: Iterable[IPAddress], *names: str) -> str:
    words = "\t".join(map(word, names))
    return "".join(f"{address}\t{words}\n" for address in addresses)


def _without_duplicates(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
