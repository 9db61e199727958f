"""A TCP proxy that loses answers after the work was done, cuts requests short, and slows everything down.

Belongs here: bytes. Does not belong here: what must survive this.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class LossyProxy:
    """Forwards TCP to a server until `close`. Set what goes wrong at any time; each loss or cut counts down.

    `lose`: swallow the answers of so many requests that contain `marker`, and cut their connections. `cut`: forward
    half of so many such requests, and cut. `delay`: seconds that every piece of an answer is held back.
    """

    def __init__(self, host: str, port: int, marker: bytes) -> None:
        self._target = (host, port)
        self._marker = marker
        self.lose = 0
        self.cut = 0
        self.delay = 0.0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        is_marked = threading.Event()
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as upstream:
            threading.Thread(target=self._send_on, args=(client, upstream, is_marked), daemon=True).start()
            while answer := upstream.recv(65536):
                time.sleep(self.delay)
                if is_marked.is_set() and self.lose > 0:
                    self.lose -= 1
                    break
                client.sendall(answer)
            _shut(client, upstream)

    def _send_on(self, client: socket.socket, upstream: socket.socket, is_marked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(65536):
                if request.startswith((b"POST ", b"GET ")):
                    is_marked.clear()
                if self._marker in request:
                    is_marked.set()
                    if self.cut > 0:
                        self.cut -= 1
                        upstream.sendall(request[: len(request) // 2])
                        _shut(client, upstream)
                        return
                upstream.sendall(request)


def _shut(*sides: socket.socket) -> None:
    """A close alone would wait for the other thread's recv."""
    for side in sides:
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
