# SPDX-License-Identifier: BSD-2-Clause
"""Sockets of this process in a network namespace of the rig."""
import contextlib
import ctypes
import os

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(namespace):
    """Sockets that this thread makes in here belong to the network namespace; None: nothing changes."""
    if not namespace:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", encoding="ascii") as home, open(f"/run/netns/{namespace}", encoding="ascii") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)
