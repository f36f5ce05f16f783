"""One writer at a time: two programs that fill the same zoo would train every net twice, and one of them for nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from nws.errors import NwsError

NAME = ".lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def only_writer(root: Path) -> Iterator[None]:
    """Hold the zoo's lock. NwsError that names the holder when another process has it.

    The kernel gives a lock back when its holder dies, however it dies: a lock is never stale, whatever `.lock` says. Where the
    file system has no locks, nobody is kept out: nets are still written whole or not at all.
    """
    descriptor = os.open(root / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise NwsError(f"{root}: {_holder(descriptor)} is filling it: wait for it to end, or use another folder") from None
            if error.errno not in _UNSUPPORTED:
                raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who wrote last into the lock's file: for people, never a reason to break in."""
    return os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
