"""What came back: of an HTTP server, of a UDP server, of the kernel. Pure."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass

from kns.probe.identify import identify
from kns.probe.load.model import Cause
from kns.probe.model import Attempt
from kns.promise.flow import Outcome

_CAUSES = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ECONNRESET: Cause.RESET,
    errno.EPIPE: Cause.RESET,
    errno.EHOSTUNREACH: Cause.UNREACHABLE,
    errno.ENETUNREACH: Cause.UNREACHABLE,
    errno.ENETDOWN: Cause.UNREACHABLE,
    errno.EHOSTDOWN: Cause.UNREACHABLE,
    errno.ETIMEDOUT: Cause.TIMEOUT,
    # a rule of the source's own host dropped the packet
    errno.EPERM: Cause.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """Who answered, in the server's own words; `status` 0: it does not speak HTTP."""

    backend: str = ""
    server: str = ""
    client: str = ""
    status: int = 0

    @property
    def cause(self) -> Cause | None:
        """Why it is none: 5xx is a proxy's or server's word for having none."""
        return Cause.WRONG if self.status >= 500 else None

    @property
    def detail(self) -> str:
        """What to tell of it."""
        return f"HTTP {self.status}" if self.cause is not None else ""


def cause_of(number: int) -> Cause:
    """What an errno means."""
    return _CAUSES.get(number, Cause.OTHER)


def take_answer(buffer: bytearray) -> Reply | None:
    """The first whole HTTP answer with a Content-Length, taken out of the buffer; None if none."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end])
    size = _content_length(head)
    if size is None or len(buffer) < end + 4 + size:
        return None
    body = bytes(buffer[end + 4 : end + 4 + size])
    del buffer[: end + 4 + size]
    return _answer(head, body)


def last_answer(buffer: bytearray) -> Reply | None:
    """The answer of a connection that was closed after it; None if it is not whole."""
    head, parted, body = bytes(buffer).partition(b"\r\n\r\n")
    if not parted:
        return None
    size = _content_length(head)
    return _answer(head, body) if size is None or len(body) >= size else None


def _answer(head: bytes, body: bytes) -> Reply | None:
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        return None
    return _named(body.decode(errors="replace"), int(words[1]))


def _content_length(head: bytes) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None


def datagram_answer(datagram: bytes) -> tuple[str, Reply] | None:
    """The message that a UDP server says it was sent, and who it is; None if it says neither."""
    text = datagram.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or "message" not in found:
        return None
    return str(found["message"]), _named(text, 0)


def _named(body: str, status: int) -> Reply:
    who = identify(Attempt(Outcome.CONNECTED, body=body), {})
    return Reply(
        who.backend, str(who.server_address or ""), str(who.client_address_seen or ""), status
    )
