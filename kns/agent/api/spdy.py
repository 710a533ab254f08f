"""The frames of SPDY/3.1, which kubectl's port-forward speaks inside its WebSocket.

As much of it as that takes: streams that the client opens, data both ways, the end of each side.

Source: SPDY Protocol Draft 3.1, and KEP-4006 for what is tunnelled.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_VERSION = 0x8003
_SYN_REPLY, _RST_STREAM, _PING = 2, 3, 6
_FIN = 1
#: a frame of more is nobody's who means well
_MAX_FRAME = 1 << 20
_MAX_HEADERS = 1 << 16
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status "
    "200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
_REST = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    b"401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    b"503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    b"Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    b"application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    b"gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _sized(text: str) -> bytes:
    return struct.pack("!I", len(text)) + text.encode()


#: what both ends' compressors know from the start
DICTIONARY = b"".join(_sized(word.replace("_", " ")) for word in _WORDS.split()) + _REST


class SPDYError(Exception):
    """The peer does not speak SPDY."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Received:
    """Data came in on a stream; `is_last`: the client's side of it has ended."""

    stream: int
    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The client wants no more of a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class SPDYPing:
    """A ping, to be sent back as it is."""

    frame: bytes


SPDYEvent = Opened | Received | Reset | SPDYPing


@dataclass(slots=True)
class SPDYReader:
    """Takes the client's bytes in any pieces, and tells what they mean."""

    _buffer: bytearray = field(default_factory=bytearray)
    _inflate: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(zdict=DICTIONARY))

    def feed(self, data: bytes) -> Iterator[SPDYEvent]:
        """The events of what has come in whole. SPDYError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, rest = struct.unpack_from("!II", self._buffer)
            flags, size = rest >> 24, rest & 0xFFFFFF
            if size > _MAX_FRAME:
                raise SPDYError(f"a frame of {size} bytes")
            if len(self._buffer) < 8 + size:
                return
            payload = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            event = self._event(first, flags, payload)
            if event is not None:
                yield event

    def _event(self, first: int, flags: int, payload: bytes) -> SPDYEvent | None:
        if not first >> 31:
            return Received(first, payload, bool(flags & _FIN))
        if first >> 16 != _VERSION:
            raise SPDYError(f"a frame of version {first >> 16 & 0x7FFF}")
        try:
            match first & 0xFFFF:
                case 1:
                    stream = struct.unpack_from("!I", payload)[0]
                    return Opened(stream, self._headers(payload[10:]))
                case 3:
                    return Reset(struct.unpack_from("!I", payload)[0])
                case 6:
                    return SPDYPing(_control(_PING, payload))
                case _:
                    return None  # settings, windows, goaway: nothing to do about them
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SPDYError(str(error)) from None

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._inflate.decompress(block, _MAX_HEADERS)
        (count,) = struct.unpack_from("!I", text)
        position, words = 4, []
        for _ in range(2 * min(count, 100)):
            (size,) = struct.unpack_from("!I", text, position)
            words.append(text[position + 4 : position + 4 + size].decode())
            position += 4 + size
        return dict(zip(words[::2], words[1::2], strict=True))


class SPDYWriter:
    """Makes the server's frames."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def reply(self, stream: int) -> bytes:
        """The client's stream is taken."""
        block = self._deflate.compress(struct.pack("!I", 0))
        block += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, struct.pack("!I", stream) + block)

    def reset(self, stream: int) -> bytes:
        """The server wants no more of a stream (CANCEL)."""
        return _control(_RST_STREAM, struct.pack("!II", stream, 5))

    def data(self, stream: int, data: bytes, *, is_last: bool = False) -> bytes:
        """Data, and the end of the server's side if it is the last."""
        return struct.pack("!II", stream, is_last << 24 | len(data)) + data


def _control(kind: int, payload: bytes) -> bytes:
    return struct.pack("!II", _VERSION << 16 | kind, len(payload)) + payload
