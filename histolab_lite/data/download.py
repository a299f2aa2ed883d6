"""Downloads that resume, and hashes that are remembered.

pooch checks the hash and moves the file atomically. It would start a broken download again from the beginning, so its
downloader is replaced by one that asks for the rest.

References
----------
- HTTP range requests: RFC 9110, section 14, https://www.rfc-editor.org/rfc/rfc9110#section-14
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from pathlib import Path
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
