"""``python -m crdtstats.network.child FD PARENT``: the process that runs the node; the client starts it.

Everything else, the identity key above all, comes over the socket: never in arguments or environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import signal
import socket
import sys
import traceback

from crdtstats.network.frames import HEADER, Kind, frame, pack, unpack

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Exit code: 0 told to stop or parent gone, 1 could not start or broke."""
    descriptor, parent = map(int, arguments)
    if not _die_with(parent):
        return 0
    gc.disable()  # a tenth of the start is collections that find nothing; the node enables it again
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches all: the parent decides
    connection = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    return _run(connection, parent)


def _run(connection: socket.socket, parent: int) -> int:
    """Be the node until told to stop."""
    kind, payload = _read_frame(connection)
    if kind != Kind.START:
        return 1
    seed, psk, text, *peers = unpack(payload)
    given = json.loads(text)
    sys.path += [entry for entry in given["path"] if entry not in sys.path]
    libp2p_level = logging.DEBUG if given["libp2p_log"] else logging.CRITICAL + 1
    logging.getLogger("libp2p").setLevel(libp2p_level)
    import trio

    from crdtstats.network.link import ParentLink
    from crdtstats.network.node import Node, Settings

    # From here on all that matters comes as frames; the library prints, and stderr is the parent's memory.
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    settings = Settings(seed, psk, given["listen"], [peer.decode() for peer in peers], given["dht"], parent)

    async def life() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        link = ParentLink(stream)
        handler = _Forward(link)
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(given["level"])
        await Node(settings, link).run()

    try:
        trio.run(life)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shall read it
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, trio.BrokenResourceError):
            return 0  # the parent went away while we wrote to it
        _tell(connection, error)
        return 1
    return 0


def _die_with(parent: int) -> bool:
    """Have the kernel kill this process when the thread that started it ends; ``False`` if it has."""
    with contextlib.suppress(OSError, AttributeError):  # the node also looks at the parent's id every second
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent  # it may have died before the call


def _read_frame(connection: socket.socket) -> tuple[int, bytes]:
    head = connection.recv(HEADER.size, socket.MSG_WAITALL)
    if len(head) < HEADER.size:
        return 0, b""
    size, kind = HEADER.unpack(head)
    payload = b""
    while len(payload) < size - 1:
        piece = connection.recv(size - 1 - len(payload))
        if not piece:
            return 0, b""
        payload += piece
    return kind, payload


def _tell(connection: socket.socket, error: BaseException) -> None:
    text = f"{type(error).__name__}: {error}"
    details = "".join(traceback.format_exception(error))[-8000:]
    with contextlib.suppress(OSError):
        connection.settimeout(2)
        connection.sendall(frame(Kind.FAILED, pack([text.encode(), details.encode()])))


class _Forward(logging.Handler):
    """Log records become frames; dropped when the parent does not read."""

    def __init__(self, link: object) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            level = bytes((min(record.levelno, 255),))
            self._link.offer(Kind.LOG, level, pack([record.name.encode(), text.encode()]))  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - logging must not break the node
            self.handleError(record)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # threads of the library must not delay the end
