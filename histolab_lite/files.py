"""Files that are written whole or not at all; YAML and JSON from strangers, read within bounds."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
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
