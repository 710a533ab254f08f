"""HTTP probes with the system's curl: one process, several requests, each a new connection.

curl's `-w` writes one JSON record a transfer after the transfer's body, both on stdout, parted by
an ASCII record separator. Why a connect failed (refused, no route) is told by no exit code and no
variable: it is the errno's text in the verbose log, so the log is kept on stderr and cut into
transfers by the same separator. Works with curl 7.81 (Ubuntu 22.04) and later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from kns.addresses import IPAddress
from kns.errors import ProbeError
from kns.kernel import processes
from kns.probe.model import Attempt
from kns.promise.flow import Outcome

#: ASCII record separator: no JSON text holds it unescaped
SEPARATOR = "\x1e"
_WRITE_OUT = f"\n{SEPARATOR}%{{json}}\n{SEPARATOR}%{{stderr}}\n{SEPARATOR}\n"
#: curl's exit codes (man curl, EXIT CODES)
COULDNT_RESOLVE_HOST = 6
COULDNT_CONNECT = 7
OPERATION_TIMEDOUT = 28
#: small packets pass and big ones do not, or the answer takes another way
CONNECTED_THEN_SILENT = "connected, but no answer came"
_NO_ROUTE = ("Network is unreachable", "No route to host", "Host is unreachable")
#: "  Trying 10.96.0.1:80...", "  Trying [fd00::1]:80..."; before curl 8 without brackets
_TRYING = re.compile(r"^\*\s+Trying \[?([0-9a-fA-F.:]+?)\]?:\d+\.\.\.", re.M)
_CONNECT_ERROR = re.compile(
    r"(?:connect to .+ failed|Immediate connect fail for [^ ]+): (.+)$", re.M
)


@dataclass(frozen=True, slots=True)
class CurlRequest:
    """What to ask for. `resolve` and `connect_to` are curl's options of these names."""

    url: str
    count: int = 1
    connect_timeout: float = 2.0
    #: for a whole request, answer included
    timeout: float = 4.0
    resolve: tuple[str, ...] = ()
    connect_to: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    #: stop at the first request that fails
    is_eager: bool = False
    ca_file: str = ""
    #: 0: the kernel chooses
    source_port: int = 0


def get(request: CurlRequest, context: processes.Context) -> tuple[Attempt, ...]:
    """Run curl in the context; one Attempt a request, in order. ProbeError if curl can't run."""
    done = processes.run(
        arguments(request), context=context, timeout=30.0 + request.count * request.timeout
    )
    attempts = parse(done.stdout, done.stderr)
    if not attempts:
        raise ProbeError(
            f"curl in {context.netns} gave no result: {done.stderr.strip()[-200:]}",
            hint="curl 7.75 or later is needed: curl --version",
        )
    return attempts


def arguments(request: CurlRequest) -> list[str]:
    """The command line. The glob `[1-N]` in the query makes N requests of one URL."""
    url = request.url
    if request.count > 1:
        url += f"{'&' if '?' in url else '?'}n=[1-{request.count}]"
    pinned = [part for entry in request.resolve for part in ("--resolve", entry)]
    pinned += [part for entry in request.connect_to for part in ("--connect-to", entry)]
    headers = [part for line in request.headers for part in ("--header", line)]
    trust = ["--cacert", request.ca_file] if request.ca_file else []
    port = ["--local-port", str(request.source_port)] if request.source_port else []
    return [
        "curl",
        "--disable",  # no ~/.curlrc; must come first
        "--silent",
        "--verbose",
        *([] if request.count > 1 else ["--globoff"]),
        *(["--fail-early"] if request.is_eager else []),
        *("--noproxy", "*"),
        *("--connect-timeout", f"{request.connect_timeout:g}"),
        *("--max-time", f"{request.timeout:g}"),
        # a new connection for each request: load balancing is a choice per connection
        *("--header", "Connection: close"),
        *headers,
        *pinned,
        *trust,
        *port,
        *("--write-out", _WRITE_OUT),
        url,
    ]


def parse(stdout: str, stderr: str) -> tuple[Attempt, ...]:
    """The attempts in curl's output, in order."""
    parts = stdout.split(SEPARATOR)
    logs = stderr.split(SEPARATOR)
    attempts = []
    for number, record in enumerate(parts[1::2]):
        log = logs[number] if number < len(logs) else ""
        attempts.append(_attempt(json.loads(record), parts[2 * number], log))
    return tuple(attempts)


def _attempt(record: dict[str, object], body: str, log: str) -> Attempt:
    code = _int(record, "exitcode")
    connected = _float(record, "time_connect")
    total = _float(record, "time_total")
    lookup = _float(record, "time_namelookup")
    outcome, detail = classify(code, log, is_connected=connected > 0)
    text = body.removesuffix("\n").removeprefix("\n")
    server = _address(record.get("remote_ip"))
    return Attempt(
        outcome=outcome,
        server_address=server,
        status=_int(record, "http_code") or None,
        latency_ms=round(total * 1000, 3) if outcome is not Outcome.TIMEOUT else None,
        detail=detail or _own_words(outcome, record),
        body=text,
        lookup_ms=round(lookup * 1000, 3) if lookup else None,
        location=str(record.get("redirect_url") or ""),
        tried=None if server else _address(next(iter(_TRYING.findall(log)), "")),
    )


def _address(text: object) -> IPAddress | None:
    return ip_address(str(text)) if text else None


def _own_words(outcome: Outcome, record: dict[str, object]) -> str:
    """curl's message, where the outcome doesn't already say all of it."""
    return str(record.get("errormsg") or "") if outcome in (Outcome.OTHER, Outcome.DNS) else ""


def classify(code: int, log: str, *, is_connected: bool) -> tuple[Outcome, str]:
    """The outcome that curl's exit code and log mean, and the kernel's own words if any."""
    if code == 0:
        return Outcome.CONNECTED, ""
    # the resolver may be what did not answer in time
    if code == COULDNT_RESOLVE_HOST or "Resolving timed out" in log:
        return Outcome.DNS, ""
    if code == OPERATION_TIMEDOUT:
        return Outcome.TIMEOUT, CONNECTED_THEN_SILENT if is_connected else ""
    if code == COULDNT_CONNECT:
        return _connect_failure(_CONNECT_ERROR.findall(log))
    return Outcome.OTHER, f"connected, then curl gave up with code {code}" if is_connected else ""


def _connect_failure(errors: Sequence[str]) -> tuple[Outcome, str]:
    """Several addresses (a name with A and AAAA) may fail differently: the last one tells."""
    if not errors:
        return Outcome.OTHER, ""
    last = errors[-1].strip()
    if last == "Connection refused":
        return Outcome.REFUSED, last
    if last in _NO_ROUTE:
        return Outcome.UNREACHABLE, last
    if last == "Connection timed out":  # the kernel's own patience ended before curl's
        return Outcome.TIMEOUT, last
    return Outcome.OTHER, last


def _int(record: dict[str, object], key: str) -> int:
    value = record.get(key)
    return int(value) if isinstance(value, (int, float)) else 0


def _float(record: dict[str, object], key: str) -> float:
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0
