"""Every frame on every link of a netns, with the time at which the kernel saw it.

One AF_PACKET socket that is bound to no link sees all links of its netns, arriving frames before
the bridge or IP takes them and leaving ones as they are handed to the link. Frames wait in the
socket's buffer until they are read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

from kns.kernel import netns

# linux/if_ether.h, if_packet.h, socket.h, asm-generic/socket.h
ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
#: the form with 64-bit seconds on every architecture, since Linux 5.1
SO_TIMESTAMPNS_NEW = 64
_TIMESPEC = struct.Struct("=qq")
_STATISTICS = struct.Struct("=II")
#: room for some ten thousand small frames
BUFFER = 16 << 20
#: headers, those of a tunnel too, and the start of the payload
SNAP = 512


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame on a link. `nanoseconds` since the epoch, by the kernel's clock; `data` is cut."""

    netns: str
    link: str
    outgoing: bool
    nanoseconds: int
    data: bytes


class Tap:
    """The frames of a netns from the moment of opening on; `close` ends it."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self.netns = name
        self._socket = sock

    def read(self) -> list[Frame]:
        """What has been seen since the last call, in the kernel's order."""
        found: list[Frame] = []
        room = socket.CMSG_SPACE(_TIMESPEC.size)
        while True:
            try:
                data, controls, _flags, address = self._socket.recvmsg(
                    SNAP, room, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return found
            except OSError:  # a link went down; the socket goes on
                continue
            seconds, rest = 0, 0
            for level, kind, payload in controls:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW):
                    seconds, rest = _TIMESPEC.unpack(payload)
            found.append(
                Frame(
                    netns=self.netns,
                    link=str(address[0]),
                    outgoing=address[2] == PACKET_OUTGOING,
                    nanoseconds=seconds * 1_000_000_000 + rest,
                    data=data,
                )
            )

    def missed(self) -> int:
        """How many frames found no room in the buffer since the last call."""
        raw = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
        return int(_STATISTICS.unpack(raw)[1])

    def close(self) -> None:
        """See no more."""
        self._socket.close()


def open_tap(name: str) -> Tap:
    """Begin to see the frames of the netns. Raises OSError, PlatformError if it is gone."""
    return Tap(name, netns.call_in(name, _open_here))


def _open_here() -> socket.socket:
    sock = socket.socket(
        socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL)
    )
    try:
        with contextlib.suppress(PermissionError):  # not root of the machine: the usual limit
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1)
    except BaseException:
        sock.close()
        raise
    return sock
