"""The third stage: who is kept out although there is a way. Pure.

Today loadBalancerSourceRanges; NetworkPolicy comes here.
"""

from __future__ import annotations

from kns.promise.balancer import PROXY, source_ranges
from kns.promise.flow import CLOSED, DROPPED, Flow, FrontendKind, Stage, Stop
from kns.promise.route import Route


def policy(flow: Flow, route: Route) -> Stop | None:
    """Why the flow is kept out; None: it passes."""
    frontend = route.frontend
    if frontend is None or frontend.kind is not FrontendKind.LOAD_BALANCER_IP:
        return None
    ranges = source_ranges(frontend.service, flow.family)
    if not ranges or any(route.client in cidr for cidr in ranges):
        return None
    reason = f"loadBalancerSourceRanges leaves out {route.client}"
    if route.balancer is not None and route.balancer.mode == PROXY:
        return Stop(Stage.POLICY, CLOSED, f"{reason}: the proxy closes the connection")
    return Stop(Stage.POLICY, DROPPED, f"{reason}: dropped")
