"""Official files into a folder: checked before they get their name, so that a wrong or half file never stands there."""

from __future__ import annotations

import logging
import os
import posixpath
import shutil
import tarfile
import tempfile
from pathlib import Path

from nws.errors import NwsError
from nws.images.sources import File, Source

_CHUNK = 1 << 18  # bytes
_TIMEOUT = 30  # seconds without a byte


def fetch(name: str, source: Source, folder: Path, progress: bool = False) -> None:
    """All files of the image set `name` into `folder`; those already there and right are kept.

    NwsError when a file cannot be had: which, from where, and where to put it by hand.
    """
    try:
        files = (*source.train, *source.test)
        missing = [file for file in files if not (folder / file.name).is_file() or not file.matches(folder / file.name)]
        if source.archive is None:
            for file in missing:
                _retrieve([url + file.name for url in source.urls], file, folder, progress)
        elif missing:
            _retrieve(list(source.urls), source.archive, folder, progress)
            _unpack(folder / source.archive.name, source.folder, missing, folder)
            (folder / source.archive.name).unlink(missing_ok=True)  # STL-10's holds 2.3 GB of unlabelled images that nobody reads
    except NwsError as error:
        raise NwsError(f"image set {name}: {error}") from None
    except (OSError, tarfile.TarError, EOFError) as error:
        raise NwsError(f"image set {name}: {folder} cannot be filled ({_reason(error)}): make room or set NWS_DATA") from None


def _retrieve(urls: list[str], file: File, folder: Path, progress: bool) -> None:
    """`file` from the first of `urls` that has it, by way of a temporary file that goes away when anything is wrong."""
    import pooch

    logger = pooch.get_logger()
    level, problems = logger.level, []
    logger.setLevel(logging.ERROR)  # pooch announces every download
    try:
        for url in urls:
            try:
                pooch.retrieve(url, file.checksum, fname=file.name, path=folder, downloader=_Download(file, progress))
                return
            except (OSError, ValueError) as error:  # pooch's word for a wrong checksum is ValueError
                problems.append(f"{url}: {_reason(error)}")
    finally:
        logger.setLevel(level)
    raise NwsError(f"{file.name} could not be downloaded ({'; '.join(problems)}): fetch it by hand and put it into {folder}")


def _reason(error: Exception) -> str:
    """In a few words: what requests says of itself runs over several lines."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, _TooLongError):
        return str(error)
    if isinstance(error, OSError):  # requests' errors are, too
        return error.strerror or type(error).__name__
    return "what it sends has not the official checksum" if isinstance(error, ValueError) else type(error).__name__


class _TooLongError(OSError):
    """The server sends more than the official file has."""


class _Download:
    """What pooch calls to fill its temporary file. Shows a bar when asked to, and stops at the official size."""

    def __init__(self, file: File, progress: bool):
        self.file, self.progress = file, progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests  # comes with pooch
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        received = 0
        # "identity": some servers send .gz files as transfer encoding, and requests would unpack them on the way.
        headers = {"Accept-Encoding": "identity"}
        with (
            requests.get(url, stream=True, timeout=_TIMEOUT, headers=headers) as response,
            open(output_file, "wb") as target,
            Progress(*columns, console=Console(stderr=True), disable=not self.progress) as bars,
        ):
            response.raise_for_status()
            bar = bars.add_task(self.file.name, total=self.file.size)
            for chunk in response.iter_content(_CHUNK):
                received += len(chunk)
                if received > self.file.size:
                    raise _TooLongError(f"it sends more than the {self.file.size:,} bytes of the official file")
                target.write(chunk)
                bars.update(bar, completed=received)


def _unpack(archive: Path, inside: str, files: list[File], folder: Path) -> None:
    """`files` from the archive's folder `inside` into `folder`: plain files of the right size, nothing else."""
    wanted = {f"{inside}/{file.name}": file for file in files}
    with tarfile.open(archive, "r|gz") as tar:  # as a stream: stops when the last one is out
        for member in tar:
            file = wanted.get(posixpath.normpath(member.name))
            if file is None:
                continue
            content = tar.extractfile(member) if member.isreg() and member.size == file.size else None
            if content is None:
                raise NwsError(
                    f"{archive}: {member.name} is not a plain file of {file.size:,} bytes: delete the archive, try again"
                )
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".unpacking-", delete=False) as part:
                try:
                    shutil.copyfileobj(content, part, _CHUNK)
                    part.close()
                    os.replace(part.name, folder / file.name)
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
            del wanted[posixpath.normpath(member.name)]
            if not wanted:
                return
    raise NwsError(f"{archive} lacks {', '.join(wanted)}: delete the archive, try again")
