"""The built-in server's dialect: that of agnhost's netexec, over HTTP and over UDP or SCTP.

    /                    NOW: the time; every path that has no meaning of its own does the same
    /hostname /hostName  the pod's hostname
    /clientip            ip:port of the client, as the server's socket sees it
    /echo?msg=&code=     the message, with that status
    /healthz             200, 412 while the pod is not ready
    /header?key=         that request header, or all of them
    /redirect?location=  a redirect, 302 or `code`
    /env                 the container's environment
    /whoami              JSON: who answers, and both addresses of the connection
    /bytes?size=         that many bytes
    /delay?ms=           200 after so long

The last three are ours. A path that has no meaning of its own answers like /whoami if the request
has the header X-Kns-Whoami, so that whoever asks for /cart learns which server it led to. Over UDP
and SCTP `whoami TEXT` repeats the TEXT, so that a reply is known to its question. /shell, /exit,
/shutdown, /upload and /dial are refused: no shell and no write lies between the lab file and a
process, and one process serves all pods, so that none of them may end it.

Source: test/images/agnhost/netexec/netexec.go of Kubernetes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.parse import quote

from kns.agent.serve.messages import JSON, Peer, Request, Response, go_time
from kns.compile.listeners import Identity

#: a gibibyte: enough for a throughput test over the slowest link that netem makes
MAX_BYTES = 1 << 30
MAX_DELAY_MS = 60_000
WHOAMI_HEADER = "X-Kns-Whoami"

Environment = Callable[[], tuple[tuple[str, str], ...]]
_Route = Callable[[Identity, Request, Peer], Response]


def answer(who: Identity, request: Request, peer: Peer, environment: Environment) -> Response:
    """The answer to one HTTP request."""
    if request.path == "/env":
        return Response("".join(f"{name}={value}\n" for name, value in environment()))
    return _ROUTES.get(request.path, _root)(who, request, peer)


def answer_datagram(who: Identity, message: bytes, peer: Peer) -> bytes | None:
    """The reply to one UDP or SCTP message; None: netexec says nothing to what it doesn't know.

    netexec reads commands in lower case, and so it also echoes in lower case.
    """
    text = message.decode(errors="replace").strip().lower()
    match text:
        case "hostname":
            return who.hostname.encode()
        case "clientip":
            return peer.client.encode()
        case "whoami":
            return json.dumps(_whoami(who, peer)).encode()
        case _ if text.startswith("whoami "):
            return json.dumps({**_whoami(who, peer), "message": text.split(" ", 1)[1]}).encode()
        case _ if text.startswith("echo "):
            return text.split(" ", 1)[1].encode()
        case _:
            return None


def _root(who: Identity, request: Request, peer: Peer) -> Response:
    if request.header(WHOAMI_HEADER):
        return _whoami_page(who, request, peer)
    return Response(f"NOW: {go_time(time.time())}")


def _hostname(who: Identity, _request: Request, _peer: Peer) -> Response:
    return Response(who.hostname)


def _clientip(_who: Identity, _request: Request, peer: Peer) -> Response:
    return Response(peer.client)


def _echo(_who: Identity, request: Request, _peer: Peer) -> Response:
    message = request.values.get("msg", "")
    code = request.values.get("code", "")
    if not code:
        return Response(message)
    status = _integer(code)
    if status is None:
        return Response(_not_an_integer(code))
    if not 200 <= status <= 599:
        return Response(f"argument 'code' must be from 200 to 599, got {status}\n", status=400)
    return Response(message, status=status)


def _healthz(who: Identity, _request: Request, _peer: Peer) -> Response:
    return Response(status=200 if who.ready else 412)


def _header(_who: Identity, request: Request, _peer: Peer) -> Response:
    key = request.values.get("key", "")
    if key:
        return Response(request.header(key))
    return Response("".join(f"{name}: {value}\n" for name, value in request.headers))


def _redirect(_who: Identity, request: Request, _peer: Peer) -> Response:
    code = request.values.get("code", "302")
    status = _integer(code)
    if status is None:
        return Response(_not_an_integer(code))
    if not 300 <= status <= 399:
        return Response(f"argument 'code' must be from 300 to 399, got {status}\n", status=400)
    # quoting keeps a line break in the argument from becoming a header of its own
    location = quote(request.values.get("location", ""), safe="/:?#[]@!$&'()*+,;=%")
    return Response(status=status, headers=(("Location", location),))


def _whoami_page(who: Identity, request: Request, peer: Peer) -> Response:
    answer = {
        **_whoami(who, peer),
        "method": request.method,
        "path": request.target,
        "headers": {name.lower(): value for name, value in request.headers},
    }
    return Response(json.dumps(answer) + "\n", content_type=JSON)


def _whoami(who: Identity, peer: Peer) -> dict[str, str | int]:
    return {
        "namespace": who.namespace,
        "pod": who.pod,
        "node": who.node,
        "container": who.container,
        "hostname": who.hostname,
        "client_address": peer.client_address,
        "client_port": peer.client_port,
        "server_address": peer.server_address,
        "server_port": peer.server_port,
    }


def _bytes(_who: Identity, request: Request, _peer: Peer) -> Response:
    size = _integer(request.values.get("size", ""))
    if size is None or not 0 <= size <= MAX_BYTES:
        return Response(f"argument 'size' must be from 0 to {MAX_BYTES}\n", status=400)
    return Response(filler=size, content_type="application/octet-stream")


def _delay(_who: Identity, request: Request, _peer: Peer) -> Response:
    wait = _integer(request.values.get("ms", ""))
    if wait is None or not 0 <= wait <= MAX_DELAY_MS:
        return Response(f"argument 'ms' must be from 0 to {MAX_DELAY_MS}\n", status=400)
    return Response(f"waited {wait} ms\n", delay=wait / 1000)


def _refused(_who: Identity, request: Request, _peer: Peer) -> Response:
    reason = f"kns does not offer {request.path}: its servers run no program and write no file"
    return Response(f"{reason}; `kns exec` runs one in the pod\n", status=501)


def _integer(text: str) -> int | None:
    """Go's Atoi, as far as sizes go: ASCII digits, and not thousands of them."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None
    return int(text)


def _not_an_integer(text: str) -> str:
    return f"argument 'code' must be an integer or empty, got {json.dumps(text)}\n"


_ROUTES: dict[str, _Route] = {
    "/hostname": _hostname,
    "/hostName": _hostname,
    "/clientip": _clientip,
    "/echo": _echo,
    "/healthz": _healthz,
    "/header": _header,
    "/redirect": _redirect,
    "/whoami": _whoami_page,
    "/bytes": _bytes,
    "/delay": _delay,
    "/shell": _refused,
    "/exit": _refused,
    "/shutdown": _refused,
    "/upload": _refused,
    "/dial": _refused,
}
