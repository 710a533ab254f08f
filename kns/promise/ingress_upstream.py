"""Which endpoints an Ingress controller's pods get through to, by the network policies. Pure.

nginx connects to the endpoints of a service itself, as the pod that it runs in. One that stays
silent costs it `CONNECT_SECONDS`; then it asks another one, `TRIES` in all, and answers 504 if none
of them took the connection. It comes back to silent ones with every request (`max_fails=0`).

    policies keep nginx from …      the client gets
    none of the endpoints           200
    all of them                     504
    fewer than `TRIES`              200, from another one, later
    more than that                  200 or 504

Source: nginx' ngx_http_upstream_module (proxy_next_upstream_tries counts the first try, too), and
what kns.compile.programs.nginx writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kns.addresses import IPAddress
from kns.cluster.ingress import CONNECT_SECONDS, TRIES
from kns.kinds.pod import Pod
from kns.promise.flow import Backend, Denial, Flow
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.promise import promise


@dataclass(frozen=True, slots=True)
class Upstream:
    """The endpoints of a backend as some of nginx' pods reach them."""

    #: those that one of the pods gets through to, at least
    answering: tuple[Backend, ...]
    #: those that policies keep one of the pods from
    silent: tuple[Denial, ...] = ()
    #: a pod may run out of tries before somebody has answered
    may_fail: bool = False
    #: what else is in the way, a fault of the lab: what comes of it can't be told
    fault: str = ""
    #: seconds that nginx may wait for silent endpoints before it answers
    delay: float = 0.0

    @property
    def reason(self) -> str:
        """Why there is no way to one of the silent ones; nothing: there are none."""
        return self.silent[0].reason if self.silent else ""


def upstream(lookup: Lookup, pods: Iterable[Pod], backends: tuple[Backend, ...]) -> Upstream:
    """What `pods`, each with an nginx, reach of the endpoints."""
    silent: dict[IPAddress, Denial] = {}
    answering: set[IPAddress] = set()
    may_fail, longest = False, 0
    for pod in pods:
        denied = 0
        for backend in backends:
            found = promise(lookup, Flow(Location(pod), backend.address, backend.port))
            if found.denied:
                denied += 1
                silent.setdefault(backend.address, found.denied[0])
            elif found.stop is not None:
                return Upstream(backends, fault=found.stop.reason)
            else:
                answering.add(backend.address)
        may_fail = may_fail or denied >= min(len(backends), TRIES)
        longest = max(longest, min(denied, TRIES))
    return Upstream(
        tuple(item for item in backends if item.address in answering),
        tuple(silent.values()),
        may_fail,
        delay=longest * CONNECT_SECONDS,
    )
