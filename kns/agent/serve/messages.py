"""What the HTTP front end hands to those who answer, and what they give back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Peer:
    """Both ends of a connection or datagram, as the server's socket sees them."""

    client_address: str
    client_port: int
    server_address: str
    server_port: int

    @property
    def client(self) -> str:
        """`ip:port`, `[ip]:port` for IPv6: Go's RemoteAddr."""
        if ":" in self.client_address:
            return f"[{self.client_address}]:{self.client_port}"
        return f"{self.client_address}:{self.client_port}"


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. `values` are the form's and the query's, the form's first, as in Go."""

    method: str
    target: str
    path: str
    values: Mapping[str, str]
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The first value of a header, whatever the case of its name; empty if absent."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `delay` is in seconds; `filler` more bytes follow `body`."""

    body: str = ""
    status: int = 200
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    filler: int = 0


def http_date(seconds: float) -> str:
    """IMF-fixdate of RFC 9110, without the locale that strftime would use."""
    now = time.gmtime(seconds)
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    month = _MONTHS[now.tm_mon - 1]
    return f"{_DAYS[now.tm_wday]}, {now.tm_mday:02} {month} {now.tm_year:04} {clock} GMT"


def go_time(seconds: float) -> str:
    """A time as Go's %v prints it: `2026-01-02 15:04:05.123456 +0000 UTC`."""
    now = time.gmtime(seconds)
    micros = int(seconds % 1 * 1_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', now)}.{micros:06} +0000 UTC"


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Both ends of a connection. An IPv6 scope stays out: it means something on one host only."""
    client = transport.get_extra_info("peername") or ("", 0)
    server = transport.get_extra_info("sockname") or ("", 0)
    if isinstance(client, str):  # a socket pair has names, not addresses
        client, server = ("", 0), ("", 0)
    return Peer(client[0].split("%")[0], client[1], server[0].split("%")[0], server[1])
