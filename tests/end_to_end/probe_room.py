"""Two objects of a cluster that stand for the two netns of a hand-made room."""

from __future__ import annotations

from ipaddress import ip_address

from kns.kinds.internet import InternetHost
from kns.probe.ask.asking import Asker
from kns.probe.ask.places import Places
from kns.promise.location import Location


def host(name: str) -> Location:
    return Location(InternetHost(name, (ip_address("10.99.0.1"),)))


CLIENT = host("client")
SERVER = host("server")


def asker(client: str, server: str) -> Asker:
    """An asker whose objects `CLIENT` and `SERVER` live in these netns."""
    netns = {CLIENT.label: client, SERVER.label: server}
    return Asker(Places(lambda found: netns[found.label], lambda _: None), {})
