"""Files that are written whole or not at all; archives, YAML and JSON from strangers, read within bounds.

Zip slip: https://security.snyk.io/research/zip-slip-vulnerability
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

_LARGEST_YAML = 1 << 18  # bytes; PyYAML reads so much in seconds
_DEEPEST_YAML = 50
_SEAL = len("\nsha256 ") + 64  # bytes


def write_atomically(path: str | Path, content: bytes | memoryview | Callable[[Path], object]) -> Path:
    """Write a file whole or not at all: fill a temporary file beside it, then move that into place in one step.

    The name of the temporary file begins with "." and ends in ".tmp". It is removed after an error.

    Parameters
    ----------
    path
        The file to write; missing folders are made.
    content
        Bytes, or a function that writes to the path it is given.

    Raises
    ------
    OSError
        The disk is full, or the file cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content)
        temporary.chmod(0o644)  # only the owner may read a file of mkstemp
        os.replace(temporary, path)
    except Exception as error:
        if _disk_is_full(error, path.parent):
            raise OSError(f"{path.name} was not written: the disk is full. Make room, then run it again.") from error
        raise
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
    return path


def _disk_is_full(error: Exception, folder: Path) -> bool:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return True
    # numpy's tofile, which tifffile calls, raises an OSError without a number.
    return isinstance(error, OSError) and error.errno is None and shutil.disk_usage(folder).free == 0


def sealed(content: bytes) -> bytes:
    """Append its sha256 to the content; readers of zip archives, such as `torch.load`, ignore what is appended."""
    return content + b"\nsha256 " + hashlib.sha256(content).hexdigest().encode()


def unsealed(content: bytes) -> bytes:
    """Return the content that was `sealed`.

    Raises
    ------
    ValueError
        The content has changed since, or was never sealed.
    """
    inner = content[:-_SEAL]
    if content != sealed(inner):
        raise ValueError("its sha256 is missing or wrong")
    return inner


_BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    NotImplementedError,  # an unknown method of compression
)


class ArchiveError(ValueError):
    """An archive that is damaged, or that would write outside its folder."""


def leads_outside(name: str) -> bool:
    """Tell whether the name of a member leads out of the folder that its archive is unpacked into, on any system."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or ":" in parts[0]


def extract(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip or tar into `folder` and return its files. Nothing is written unless every member is safe.

    Raises
    ------
    ArchiveError
        The archive is neither a zip nor a tar, is damaged, is larger than the free disk space, or has a member that is
        a link, a device, or outside the folder.
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
                    shutil.copyfileobj(source, file)
            for name, _, _ in plan:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(staging) / name, folder / name)
            return [folder / name for name, _, _ in plan]
    except _BROKEN as error:
        raise ArchiveError(f"{archive} is damaged: {error}. Remove it and download it again.") from error


@contextmanager
def _members(archive: Path) -> Iterator[list[tuple[str, int, Any]]]:
    """List the files of an archive as (name, bytes, function that opens it); refuse links and devices."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            entries = [info for info in packed.infolist() if not info.is_dir()]
            for info in entries:
                if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                    raise ArchiveError(f"{archive.name} is refused: {info.filename!r} is not a plain file.")
                if info.flag_bits & 1:
                    raise ArchiveError(f"{archive.name} is refused: {info.filename!r} is encrypted.")
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
    if leads_outside(name) or "\\" in name or ":" in name or not path.parts:
        raise ArchiveError(f"{archive.name} is refused: {name!r} would lie outside its folder.")
    return path


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises OSError, or as `parse_json`."""
    return parse_json(Path(path).read_bytes(), Path(path).name)


def parse_json(content: str | bytes, name: str) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        The content is not JSON; the message begins with `name`.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"{name} is not JSON that can be read: its brackets are nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{name} is not JSON ({error}).") from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of plain values without aliases, of at most 256 KiB.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The content is something else; the message begins with the path.
    """
    with open(path, "rb") as file:
        content = file.read(_LARGEST_YAML + 1)
    if len(content) > _LARGEST_YAML:
        raise ValueError(f"{path} is larger than {_LARGEST_YAML >> 10} KiB, the largest YAML file that is read.")
    try:
        return yaml.load(content.decode(), _Loader)
    except Exception as error:  # for a bad value PyYAML raises anything from KeyError to AttributeError
        raise ValueError(f"{path} is not YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """Refuses aliases, nine lines of which can stand for a billion values, and endless nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(
                f"*{self.peek_event().anchor} is an alias, which is not read. Write its value instead."
            )
        if self.depth == _DEEPEST_YAML:
            raise yaml.YAMLError(f"values are nested too deeply, more than {_DEEPEST_YAML} in each other.")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node
