"""A data set of the challenge's kind that tests write in a moment, and break."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad.challenge.files import PALETTE, SPLITS, TRAINING, training_name

SIZES = {"00": (200, 211), "01": (230, 300), "10": (201, 200)}


def write_dataset(root: Path, seed: int = 0) -> Path:
    """Three training patches, and three images with masks in each split, without any problem."""
    random = np.random.default_rng(seed)
    (root / TRAINING).mkdir(parents=True)
    training = (("4361", (1, 1, 0)), ("4361", (0, 0, 1)), ("TCGA-55-8203-01Z-00-DX1", (1, 0, 0)))
    for x, (slide, tags) in enumerate(training):
        patch = random.integers(0, 200, (150 + x, 160, 3), dtype=np.uint8)
        save(patch, root / TRAINING / training_name(slide, x, 7, tags))
    for folder in SPLITS.values():
        for kind in ("img", "mask", "background-mask"):
            (root / folder / kind).mkdir(parents=True)
        for name, size in SIZES.items():
            mask = random.integers(0, 4, size, dtype=np.uint8)
            save(random.integers(0, 256, (*size, 3), dtype=np.uint8), root / folder / "img" / f"{name}.png")
            (root / folder / "mask" / f"{name}.png").write_bytes(mask_png(mask, PALETTE))
            save((mask == 3).astype(np.uint8), root / folder / "background-mask" / f"{name}.png")
    return root


def save(array: np.ndarray, path: Path) -> None:
    Image.fromarray(array).save(path, compress_level=1)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


def raw_png(size: tuple[int, int], rows: bytes, bits: int, colour: int, interlaced: bool = False) -> bytes:
    """What Pillow does not write: 16 bits in three colours, and interlaced images."""
    start = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, interlaced)
    content, packed = b"\x89PNG\r\n\x1a\n", zlib.compress(rows)
    parts = [(b"IDAT", packed[place : place + 4096]) for place in range(0, len(packed), 4096)]
    for kind, data in ((b"IHDR", start), *parts, (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content
