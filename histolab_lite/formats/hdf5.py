"""HDF5 files with a digest of their content in front of it, in the user block that HDF5 leaves to programs.

h5py writes into memory, and the bytes go to the disk from there: on a full disk HDF5 would end the whole process.

https://docs.h5py.org/en/stable/high/file.html
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import h5py

from histolab_lite.files import write_atomically

BLOCK = 512  # bytes, the smallest user block
SIGNATURE = b"\x89HDF\r\n\x1a\n"
MARK = b"HDF5 by histolab-lite. "


class DamagedError(ValueError):
    """A file that `write_hdf5` sealed has lost bytes, or some of its bytes have changed."""


def write_hdf5(path: str | Path, write: Callable[[h5py.File], object], sealed: bool = False) -> Path:
    """Write an HDF5 file atomically and return its path.

    Parameters
    ----------
    path
        The file to write.
    write
        Fills the open HDF5 file.
    sealed
        Whether to put a digest in front of the content, by which `open_hdf5` notices damage.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w", userblock_size=BLOCK if sealed else 0) as file:
        write(file)
    content = memory.getbuffer()
    if sealed:
        content[:BLOCK] = _block(len(content) - BLOCK, hashlib.sha256(content[BLOCK:]).hexdigest())
    return write_atomically(path, content)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, after comparing it with its digest where it has one.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DamagedError
        The file was sealed and is damaged, or it is empty.
    ValueError
        The file is not HDF5, or was sealed and then extended by another program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: there is no such file of embeddings.")
    again = "Copy it again from its source, or embed again."
    with open(path, "rb") as file:
        block = file.read(BLOCK)
        ours = block.startswith(MARK) or MARK.startswith(block)
        digest = hashlib.file_digest(file, "sha256").hexdigest() if ours else ""
    size = path.stat().st_size - BLOCK
    stated = re.match(rb"(\d+) bytes", block[len(MARK) :])
    if ours and stated and size > int(stated[1]):
        raise ValueError(f"{path.name} was changed by another program since it was written. {again}")
    if ours and block != _block(size, digest):
        raise DamagedError(f"{path.name} is damaged or incomplete. {again}")
    if not ours and not block.startswith(SIGNATURE):
        raise ValueError(f"{path.name} is no HDF5 file. {again}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path.name} is no HDF5 file, or an incomplete one. {again}") from error


def _block(size: int, digest: str) -> bytes:
    text = f"{size} bytes follow this block of {BLOCK}; their sha256 is {digest}\n"
    return (MARK + text.encode()).ljust(BLOCK, b"\n")
