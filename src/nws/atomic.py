"""Whole files or none: a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path

_PART = re.compile(r"\..+\.([A-Za-z0-9-]+)\.(\d{1,9})\.[0-9a-f]{8}\.tmp")
_HOUR = 3600.0
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # exFAT, SMB, some of FUSE


def write_whole(path: Path, data: bytes, new: bool = False) -> None:
    """Write `data` to `path` so that readers see the old file (or none) or the whole new one, whatever happens meanwhile.

    `new`: there was no such file, so take it away again should flushing the folder fail. Raises OSError, leaving no temporary
    file behind; after a kill one may stay, which `strays` finds.
    """
    part = temporary(path)
    placed = False
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        placed = True
        flush_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        if placed and new:
            path.unlink(missing_ok=True)
        raise


def write_once(path: Path, data: bytes) -> bool:
    """As `write_whole`, but what is at `path` already stays: False then, and nothing is left of `data`. Raises OSError."""
    part = temporary(path)
    placed = False
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        placed = _named(part, path)
        if placed:
            flush_folder(path.parent)
    except BaseException:
        if placed:
            path.unlink(missing_ok=True)
        raise
    finally:
        part.unlink(missing_ok=True)
    return placed


def _named(part: Path, path: Path) -> bool:
    """Give a file its name unless that is taken. Whether it has it now; `part` may be gone."""
    try:
        os.link(part, path)
        return True
    except FileExistsError:
        # NFS may lose its answer and be asked twice: then the name is taken by us.
        return part.stat().st_nlink == 2 and part.samefile(path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    if path.exists():  # no hard links here: who comes in between is written over, by an equal file
        return False
    os.replace(part, path)
    return True


def temporary(path: Path) -> Path:
    """A name beside `path` to write to first; `strays` finds it should we be killed."""
    # It tells who is writing: a temporary file of a living process is not to be cleaned away under its hands.
    return path.with_name(f".{path.name}.{host_name()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def flush_folder(folder: Path) -> None:
    """Make names in `folder` survive a power cut: a rename is on disk only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def strays(folders: Iterable[Path]) -> list[Path]:
    """Temporary files in these folders that nobody is writing any more."""
    paths = (path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()))
    return [path for path in paths if is_temporary(path) and _abandoned(path)]


def is_temporary(path: Path) -> bool:
    return _PART.fullmatch(path.name) is not None


def _abandoned(path: Path) -> bool:
    match = _PART.fullmatch(path.name)
    assert match
    host, pid = match.groups()
    try:
        if host == host_name() and not _alive(int(pid)):
            return True
        # Written on another machine, or the process number was given out again: a write takes seconds, so an hour tells.
        return time.time() - path.stat().st_mtime > _HOUR
    except FileNotFoundError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def host_name() -> str:
    """This machine's name, as it may stand in the name of a file."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64] or "host"
