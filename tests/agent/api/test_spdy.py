"""The frames of SPDY that port-forward takes."""

from __future__ import annotations

import struct
import zlib

import pytest

from kns.agent.api.spdy import (
    DICTIONARY,
    Opened,
    Received,
    Reset,
    SPDYError,
    SPDYPing,
    SPDYReader,
    SPDYWriter,
)


def control(kind: int, payload: bytes) -> bytes:
    return struct.pack("!II", 0x80030000 | kind, len(payload)) + payload


class Client:
    """Opens streams as a client does, its headers compressed as one stream."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, **headers: str) -> bytes:
        def sized(text: str) -> bytes:
            return struct.pack("!I", len(text)) + text.encode()

        block = struct.pack("!I", len(headers))
        block += b"".join(sized(key) + sized(value) for key, value in headers.items())
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack("!IIH", stream, 0, 0) + packed)


def test_the_dictionary_is_that_of_the_specification() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_come_in_any_pieces() -> None:
    client = Client()
    sent = (
        client.open(1, streamtype="error", port="8080")
        + client.open(3, streamtype="data", port="8080")
        + control(4, b"\0\0\0\0")
        + struct.pack("!II", 3, 5)
        + b"hello"
        + struct.pack("!II", 3, 1 << 24)
        + control(3, struct.pack("!II", 1, 5))
        + control(6, b"\0\0\0\7")
    )
    expected = [
        Opened(1, {"streamtype": "error", "port": "8080"}),
        Opened(3, {"streamtype": "data", "port": "8080"}),
        Received(3, b"hello", is_last=False),
        Received(3, b"", is_last=True),
        Reset(1),
        SPDYPing(control(6, b"\0\0\0\7")),
    ]
    assert list(SPDYReader().feed(sent)) == expected
    reader = SPDYReader()
    by_byte = [event for byte in sent for event in reader.feed(bytes([byte]))]
    assert by_byte == expected


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("!II", 1, 0xFFFFFF),
        struct.pack("!II", 0x80020001, 0),
        control(1, b"\0"),
        control(1, struct.pack("!IIH", 1, 0, 0) + b"not compressed"),
        control(3, b""),
    ],
)
def test_what_is_no_spdy_is_refused(sent: bytes) -> None:
    with pytest.raises(SPDYError):
        list(SPDYReader().feed(sent))


def test_what_the_server_sends_can_be_read() -> None:
    writer = SPDYWriter()
    for stream in (1, 3):
        reply = writer.reply(stream)
        assert struct.unpack_from("!III", reply)[::2] == (0x80030002, stream)
    sent = writer.data(3, b"x", is_last=True) + writer.reset(3)
    assert list(SPDYReader().feed(sent)) == [Received(3, b"x", is_last=True), Reset(3)]
