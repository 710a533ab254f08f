"""Who answered, in the server's own words: the JSON of /whoami, or what the address tells. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from kns.addresses import IPAddress
from kns.probe.model import Attempt
from kns.promise.flow import Outcome
from kns.promise.location import DEFAULT_NAMESPACE


def identify(attempt: Attempt, owners: Mapping[IPAddress, str]) -> Attempt:
    """The attempt with its backend and both addresses filled in as far as the answer tells them.

    A server that isn't kns' own says nothing of itself: then the address that was connected to
    tells, unless it belongs to a service, behind which it could be anybody.
    """
    if attempt.outcome is not Outcome.CONNECTED:
        return attempt
    answer = _whoami(attempt.body)
    if answer is None:
        owner = owners.get(attempt.server_address, "") if attempt.server_address else ""
        return replace(attempt, backend="" if owner.startswith("svc/") else owner)
    return replace(
        attempt,
        backend=_backend(answer),
        container=str(answer.get("container") or ""),
        server_address=_address(answer.get("server_address")) or attempt.server_address,
        client_address_seen=_address(answer.get("client_address")),
    )


def _whoami(body: str) -> Mapping[str, object] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: brackets nested deeply
        return None
    return answer if isinstance(answer, dict) and "client_address" in answer else None


def request_headers(body: str) -> Mapping[str, str]:
    """The request's headers as the server saw them, by lower-case name; empty if it is not ours."""
    answer = _whoami(body)
    headers = answer.get("headers") if answer is not None else None
    return headers if isinstance(headers, dict) else {}


def _backend(answer: Mapping[str, object]) -> str:
    pod, namespace = str(answer.get("pod") or ""), str(answer.get("namespace") or "")
    if not pod:
        return str(answer.get("hostname") or "")
    return pod if namespace in ("", DEFAULT_NAMESPACE) else f"{namespace}/{pod}"


def _address(text: object) -> IPAddress | None:
    try:
        # what follows the % of a scoped address may be any text
        return ip_address(str(text).partition("%")[0])
    except ValueError:
        return None
