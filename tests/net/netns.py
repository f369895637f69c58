# SPDX-License-Identifier: BSD-2-Clause
"""Sockets in other network namespaces, and a relay to them; as a program: netns.py NAMESPACE PORT LISTEN, until it is ended."""
import contextlib
import ctypes
import socket
import sys
import threading

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(namespace):
    """Sockets made in here by this thread belong to the network namespace; None: nothing changes."""
    if not namespace:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", encoding="ascii") as home, open(f"/run/netns/{namespace}", encoding="ascii") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


class Relay:
    """Listens on 127.0.0.1 and passes every connection on to a port on loopback of a namespace. With `cuts`, a list of numbers, the n-th
    connection is broken off after so many bytes of answers (None: not at all), as a network breaks: in the middle."""

    def __init__(self, namespace, port, listen=0, cuts=()):
        self.namespace, self.port, self.cuts, self.accepted = namespace, port, list(cuts), 0
        self.listener = socket.create_server(("127.0.0.1", listen))
        self.listen = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            self.accepted += 1
            cut = self.cuts.pop(0) if self.cuts else None
            try:
                with inside(self.namespace):
                    far = socket.create_connection(("127.0.0.1", self.port), timeout=10)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            self.serve(near, far, cut)

    def serve(self, near, far, cut):
        """Both directions of a connection."""
        threading.Thread(target=self._pass, args=(near, far, None), daemon=True).start()
        threading.Thread(target=self._pass, args=(far, near, cut), daemon=True).start()

    def _pass(self, source, target, left):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data[:left])
                left = None if left is None else left - len(data)
                if left is not None and left <= 0:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    Relay(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    threading.Event().wait()
