"""Downloads that resume, archives that cannot write outside their folder, and hashes that are remembered.

pooch checks the hash and moves the file atomically. It would start a broken download again from the beginning, so its
downloader is replaced by one that asks for the rest.

References
----------
- HTTP range requests: RFC 9110, section 14, https://www.rfc-editor.org/rfc/rfc9110#section-14
- Zip slip: https://security.snyk.io/research/zip-slip-vulnerability
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pooch
import requests
from tqdm.auto import tqdm

from histolab_lite.files import read_json, write_atomically

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16  # bytes; a broken transfer loses at most so many
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks


class DownloadError(ValueError):
    """A download that failed, or that gave the wrong file."""


class ArchiveError(ValueError):
    """An archive that is damaged, or that would write outside its folder."""


def sha256(path: str | Path) -> str:
    """Return the sha256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, target: str | Path, digest: str, attempts: int = 5) -> Path:
    """Download `url` to `target`, which appears only when it is whole and its sha256 is `digest`.

    What has arrived is kept beside the target as `<name>.<digest>.part`, and the next attempt, in this call or a later
    one, asks only for the rest. Run one download of a file at a time.

    Parameters
    ----------
    url, target
        From where, and to which file.
    digest
        The expected sha256, 64 hexadecimal digits.
    attempts
        How many broken connections end the download.

    Raises
    ------
    DownloadError
        If the connection failed `attempts` times, the server refused, the target cannot be written, or the hash is
        wrong; a wrong file is removed.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=f"sha256:{digest}",
            fname=target.name,
            path=target.parent,
            downloader=_Resuming(target.with_name(f"{target.name}.{digest[:8]}.part"), attempts),
        )
    except requests.RequestException as error:
        raise DownloadError(f"{url} did not download: {error}. Run it again to continue where it stopped.") from error
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written: {error}. Set HISTOLAB_DATA to a folder that you may write to."
        ) from error
    except ValueError as error:  # pooch raises it for a wrong hash; it has removed the file
        raise DownloadError(f"{url} is not the file expected, and was removed: {error}") from error
    return target


class _Resuming:
    """A pooch downloader that keeps what has arrived in `partial` and asks for the rest."""

    def __init__(self, partial: Path, attempts: int) -> None:
        self.partial = partial
        self.attempts = attempts

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        for attempt in range(1, self.attempts + 1):
            try:
                self._rest(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if attempt == self.attempts:
                    raise
        os.replace(self.partial, output_file)

    def _rest(self, url: str) -> None:
        have = self.partial.stat().st_size if self.partial.exists() else 0
        # Otherwise a server may compress, and byte ranges would count compressed bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing follows: the part is whole, or longer than the file is now
                total = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
                if total and int(total[1]) == have:
                    return
                self.partial.unlink()
                raise requests.ConnectionError(f"{url} no longer matches the part already downloaded")
            answer.raise_for_status()
            resumed = answer.status_code == 206
            have = have if resumed else 0
            length = answer.headers.get("Content-Length")
            with (
                open(self.partial, "ab" if resumed else "wb") as file,
                tqdm(
                    total=have + int(length) if length else None,
                    initial=have,
                    unit="B",
                    unit_scale=True,
                    desc=self.partial.name.rsplit(".", 2)[0],
                ) as progress,
            ):
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    progress.update(len(chunk))


def extract(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip or tar into `folder` and return its files. Nothing is written unless every member is safe.

    Raises
    ------
    ArchiveError
        If the archive is neither a zip nor a tar, is damaged, is larger than the free disk space, or has a member that
        is a link, a device, or outside the folder.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _members(archive) as members, tempfile.TemporaryDirectory(dir=folder, prefix=".") as staging:
            plan = [(_safe(name, archive), size, opener) for name, size, opener in members]
            need, free = sum(size for _, size, _ in plan), shutil.disk_usage(folder).free
            if need > free:
                raise ArchiveError(
                    f"{archive.name} unpacks to {need / 2**30:.1f} GiB, but only {free / 2**30:.1f} are free."
                )
            for name, _, opener in plan:
                (Path(staging) / name).parent.mkdir(parents=True, exist_ok=True)
                with opener() as source, open(Path(staging) / name, "wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
            for name, _, _ in plan:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(staging) / name, folder / name)
            return [folder / name for name, _, _ in plan]
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{archive} is damaged: {error}. Remove it and download it again.") from error


@contextmanager
def _members(archive: Path) -> Iterator[list[tuple[str, int, Any]]]:
    """List the files of an archive as (name, bytes, function that opens it); refuse links and devices."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            entries = [info for info in packed.infolist() if not info.is_dir()]
            for info in entries:
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG):
                    raise ArchiveError(f"{archive.name} is refused: {info.filename!r} is not a plain file.")
            yield [(info.filename, info.file_size, lambda info=info: packed.open(info)) for info in entries]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as bundle:
            items = [item for item in bundle.getmembers() if not item.isdir()]
            for item in items:
                if not item.isreg():
                    raise ArchiveError(f"{archive.name} is refused: {item.name!r} is not a plain file.")
            yield [(item.name, item.size, lambda item=item: bundle.extractfile(item)) for item in items]
    else:
        raise ArchiveError(f"{archive} is neither a zip nor a tar. Remove it and download it again.")


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise ArchiveError(f"{archive.name} is refused: {name!r} would lie outside its folder.")
    return path


class HashCache:
    """Hashes remembered by size and time of change, so that hundreds of files are not read at every call."""

    def __init__(self) -> None:
        self._path = Path(pooch.os_cache("histolab-lite")) / "verified.json"
        self._changed = False
        self._known: dict[str, list[Any]] = {}
        try:
            self._known = dict(read_json(self._path))
        except FileNotFoundError:
            pass  # nothing is remembered yet
        except (OSError, ValueError, TypeError) as error:
            _log.warning("%s is not readable (%s); files are hashed again.", self._path, error)

    def sha256(self, path: Path) -> str:
        """Return the sha256 of a file, which is read only if it has changed since."""
        path = path.resolve()
        state = path.stat()
        known = self._known.get(str(path))
        if known and known[:2] == [state.st_size, state.st_mtime_ns]:
            return str(known[2])
        digest = sha256(path)
        self._known[str(path)] = [state.st_size, state.st_mtime_ns, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write new hashes to the user cache."""
        if not self._changed:
            return
        try:
            write_atomically(self._path, json.dumps(self._known).encode())
        except OSError as error:
            _log.warning("%s cannot be written (%s); files are hashed at every call.", self._path, error)
