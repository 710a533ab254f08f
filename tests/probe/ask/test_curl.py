"""curl's output and exit codes → attempts, on output captured from curl 7.88 or in its form."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from kns.probe.ask.curl import (
    CONNECTED_THEN_SILENT,
    SEPARATOR,
    CurlRequest,
    arguments,
    classify,
    parse,
)
from kns.probe.model import Attempt
from kns.promise.flow import Outcome

REFUSED_LOG = """\
*   Trying 127.0.0.1:9...
* connect to 127.0.0.1 port 9 failed: Connection refused
* Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server
* Closing connection 0
"""
UNREACHABLE_LOG = """\
*   Trying 10.9.9.9:9...
* Immediate connect fail for 10.9.9.9: Network is unreachable
* Closing connection 0
"""
NO_ROUTE_LOG = """\
*   Trying 10.244.1.2:8080...
* connect to 10.244.1.2 port 8080 failed: No route to host
"""
#: curl 8 names both ends
CURL_8_LOG = (
    "* connect to 10.96.0.1 port 80 from 10.244.1.2 port 41234 failed: Connection refused\n"
)


def record(**fields: object) -> str:
    base = {"exitcode": 0, "errormsg": None, "http_code": 200, "remote_ip": "10.96.0.10"}
    return json.dumps({**base, "time_connect": 0.0001, "time_total": 0.0005, **fields})


def stdout(*transfers: tuple[str, str]) -> str:
    return "".join(f"{body}\n{SEPARATOR}{rec}\n{SEPARATOR}" for body, rec in transfers)


@pytest.mark.parametrize(
    ("code", "log", "connected", "outcome"),
    [
        (0, "", True, Outcome.CONNECTED),
        (6, "* Could not resolve host: nowhere\n", False, Outcome.DNS),
        (28, "* Resolving timed out after 2000 milliseconds\n", False, Outcome.DNS),
        (28, "* Connection timed out after 2001 milliseconds\n", False, Outcome.TIMEOUT),
        (28, "* Operation timed out\n", True, Outcome.TIMEOUT),
        (7, REFUSED_LOG, False, Outcome.REFUSED),
        (7, CURL_8_LOG, False, Outcome.REFUSED),
        (7, UNREACHABLE_LOG, False, Outcome.UNREACHABLE),
        (7, NO_ROUTE_LOG, False, Outcome.UNREACHABLE),
        (7, "* connect to 10.0.0.1 port 1 failed: Connection timed out\n", False, Outcome.TIMEOUT),
        (7, "* connect to 10.0.0.1 port 1 failed: Permission denied\n", False, Outcome.OTHER),
        (7, "", False, Outcome.OTHER),
        (52, "* Empty reply from server\n", True, Outcome.OTHER),
        (3, "", False, Outcome.OTHER),
    ],
)
def test_classify(code: int, log: str, *, connected: bool, outcome: Outcome) -> None:
    assert classify(code, log, is_connected=connected)[0] is outcome


def test_classify_tells_silence_after_the_connection() -> None:
    assert classify(28, "", is_connected=True) == (Outcome.TIMEOUT, CONNECTED_THEN_SILENT)


def test_classify_of_several_addresses_takes_the_last() -> None:
    log = "* connect to ::1 port 9 failed: Network is unreachable\n" + REFUSED_LOG
    assert classify(7, log, is_connected=False)[0] is Outcome.REFUSED


def test_parse_keeps_each_body_with_its_record() -> None:
    out = stdout(("first\nbody", record()), ("", record(http_code=204)))
    assert parse(out, "") == (
        Attempt(
            Outcome.CONNECTED,
            server_address=ip_address("10.96.0.10"),
            status=200,
            latency_ms=0.5,
            body="first\nbody",
        ),
        Attempt(
            Outcome.CONNECTED, server_address=ip_address("10.96.0.10"), status=204, latency_ms=0.5
        ),
    )


def test_parse_takes_each_reason_from_its_own_part_of_the_log() -> None:
    failed = record(exitcode=7, http_code=0, remote_ip="", time_connect=0.0)
    out = stdout(("", failed), ("ok", record()), ("", failed))
    log = SEPARATOR.join((REFUSED_LOG, "* Connected\n", UNREACHABLE_LOG, ""))
    assert [attempt.outcome for attempt in parse(out, log)] == [
        Outcome.REFUSED,
        Outcome.CONNECTED,
        Outcome.UNREACHABLE,
    ]


def test_parse_gives_no_latency_to_a_timeout() -> None:
    out = stdout(("", record(exitcode=28, time_connect=0.0, time_total=2.0)))
    assert parse(out, "")[0].latency_ms is None


def test_parse_of_nothing() -> None:
    assert parse("", "curl: not found") == ()


def test_arguments_ask_for_many_connections_by_one_glob() -> None:
    argv = arguments(CurlRequest("http://10.96.0.10:80/whoami", count=20))
    assert argv[-1] == "http://10.96.0.10:80/whoami?n=[1-20]"
    assert "--globoff" not in argv


def test_arguments_leave_brackets_of_a_single_url_alone() -> None:
    argv = arguments(CurlRequest("http://[fd00::1]:80/?a=b"))
    assert argv[-1] == "http://[fd00::1]:80/?a=b"
    assert "--globoff" in argv


def test_arguments_extend_a_query() -> None:
    assert arguments(CurlRequest("http://a/?x=1", count=3))[-1] == "http://a/?x=1&n=[1-3]"


def test_arguments_start_with_disable() -> None:
    """curl reads ~/.curlrc unless --disable comes first."""
    assert arguments(CurlRequest("http://a/"))[:2] == ["curl", "--disable"]
