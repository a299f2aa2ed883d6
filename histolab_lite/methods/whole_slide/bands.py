"""What a stopped run leaves behind: a folder of finished bands, with the settings that made them."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from histolab_lite.files import read_json, sealed, unsealed, write_atomically


class BandFolder:
    """A folder of finished bands of class ids. Every band is one file, which is complete or absent.

    A file is named after its strip and rows. It holds ids, uint8 (rows, W), compressed and with a checksum.

    Parameters
    ----------
    folder
        Is created if it does not exist.
    settings
        Everything that changes the bands.

    Raises
    ------
    ValueError
        For a folder of other files, and for one of other settings, which the message names.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        file = folder / "settings.json"
        if not file.exists():
            if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
                raise ValueError(f"{folder.name} is needed for finished bands but holds other files. Move them away.")
            write_atomically(file, json.dumps(settings, indent=1).encode())
        try:
            begun = dict(read_json(file))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{folder.name}/settings.json is damaged. Delete {folder.name} to start again.") from error
        for key, wanted in json.loads(json.dumps(settings)).items():
            if begun.get(key) != wanted:
                raise ValueError(
                    f"the stopped run in {folder.name} began with {key} {begun.get(key)!r}, not {wanted!r}. "
                    f"Use the same settings to continue it, or delete {folder.name} to start again."
                )

    def _files(self, strip: int) -> list[Path]:
        return sorted(self.folder.glob(f"{strip:04d}-*.ids"))

    def finished(self, strip: int) -> int:
        """Count the finished rows of a strip, from the top."""
        return max((int(path.stem.split("-")[2]) for path in self._files(strip)), default=0)

    def write(self, strip: int, row: int, ids: np.ndarray) -> None:
        """Write one band, ids uint8 (rows, width), that begins at ``row``."""
        path = self.folder / f"{strip:04d}-{row:09d}-{row + len(ids):09d}.ids"
        write_atomically(path, sealed(zlib.compress(ids.tobytes(), 1)))

    def bands(self, strip: int, width: int) -> Iterator[np.ndarray]:
        """Read all bands of a finished strip, from the top: uint8 (rows, width).

        Raises
        ------
        ValueError
            For bands that are damaged or missing.
        """
        row = 0
        try:
            for path in self._files(strip):
                start, stop = (int(number) for number in path.stem.split("-")[1:])
                if start != row:
                    raise ValueError(f"no band begins at row {row}")
                yield np.frombuffer(zlib.decompress(unsealed(path.read_bytes())), np.uint8).reshape(stop - start, width)
                row = stop
        except (zlib.error, ValueError) as error:
            name = self.folder.name
            raise ValueError(f"the bands in {name} are damaged ({error}). Delete {name} to start again.") from error

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)
