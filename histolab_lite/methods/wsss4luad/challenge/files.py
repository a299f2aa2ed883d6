"""The challenge's folders and names (Sect. III-D, Fig. 4c): training patches with tags, images with masks.

    1.training/436124-17928-30108-[1, 1, 0].png             slide, x, y, [tumour, stroma, normal]
    2.validation/{img,mask,background-mask}/00.png          small images first, then large ones
    3.testing/{img,mask,background-mask}/00.png

On disk a mask holds 0 tumour, 1 stroma, 2 normal, 3 white background. In memory background is 255, as everywhere.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from histolab_lite.data import IGNORE
from histolab_lite.methods.mlps.tags import tags_of_name
from histolab_lite.methods.wsss4luad.challenge.images import (
    ImageError,
    decode_background,
    decode_ids,
    decode_rgb,
    read_bytes,
)

#: Class ids 0, 1, 2 (Sect. III-D2).
CLASSES = ("tumour", "stroma", "normal")
#: White in a mask's file: glass, and the lumens of alveoli. It is not scored.
BACKGROUND = 3
#: RGB of tumour, stroma, normal and white background (Sect. III-D2).
PALETTE = ((0, 64, 128), (64, 128, 0), (243, 152, 0), (255, 255, 255))
#: Micrometres per pixel: 40x scans at 0.2517, given at 10x (Sect. III-A, III-D).
MPP = 1.0068
TRAINING = "1.training"
SPLITS = {"validation": "2.validation", "testing": "3.testing"}
IMAGES, MASKS, BACKGROUNDS = "img", "mask", "background-mask"

_NAME = re.compile(r"(?P<slide>.+?)[-_+](?P<x>\d+)[-_+](?P<y>\d+)[-_+]\[[^\[\]]*\]\.png")
Tags = tuple[int, int, int]


@dataclass(frozen=True)
class TrainingPatch:
    """A training patch with its tags.

    Attributes
    ----------
    slide
        Name of the slide.
    x, y
        Place of the patch on the slide, level-0 pixels.
    tags
        0 or 1 for each of tumour, stroma and normal.
    """

    path: Path
    slide: str
    x: int
    y: int
    tags: Tags

    def image(self) -> np.ndarray:
        """Read the RGB image, uint8 (H, W, 3); ValueError with the path for a bad file."""
        return _read(self.path, decode_rgb)


@dataclass(frozen=True)
class EvaluationImage:
    """An image of validation or testing, such as "00"; its files are read on request."""

    name: str
    image_path: Path
    mask_path: Path
    background_path: Path

    def image(self) -> np.ndarray:
        """Read the RGB image, uint8 (H, W, 3); ValueError with the path for a bad file."""
        return _read(self.image_path, decode_rgb)

    def background(self) -> np.ndarray:
        """Read where the image is white, bool (H, W); ValueError with the path for a bad file."""
        return _read(self.background_path, decode_background)

    def mask(self) -> np.ndarray:
        """Read the true mask.

        Returns
        -------
        uint8 (H, W)
            Class ids 0, 1 and 2, and 255 where at least one of the two masks says white.

        Raises
        ------
        ValueError
            For a bad file, or masks of different sizes.
        """
        mask, white = _read(self.mask_path, lambda content: decode_ids(content, PALETTE)), self.background()
        if mask.shape != white.shape:
            raise ValueError(f"{self.mask_path} is {mask.shape} pixels, its background mask {white.shape}.")
        return np.where(white | (mask == BACKGROUND), IGNORE, mask).astype(np.uint8)


def parse_name(name: str) -> tuple[str, int, int, Tags]:
    """Read slide, x, y and tags from the name of a training patch, whose parts are joined by -, _ or +.

    Raises
    ------
    ValueError
        If the name has other parts, not three tags, or no tag that is 1.
    """
    found = _NAME.fullmatch(name)
    if not found:
        raise ValueError(f"{name} is not a name such as 436124-17928-30108-[1, 1, 0].png: slide, x, y, tags.")
    tags = tags_of_name(name).tolist()
    if len(tags) != len(CLASSES):
        raise ValueError(f"{name} has {len(tags)} tags; expected are three: {', '.join(CLASSES)}.")
    if not any(tags):
        raise ValueError(f"{name} has no tag that is 1: a patch shows one tissue at least.")
    return found["slide"], int(found["x"]), int(found["y"]), (tags[0], tags[1], tags[2])


def training_name(slide: str, x: int, y: int, tags: Sequence[int]) -> str:
    """Make the name of a training patch, such as "436124-17928-30108-[1, 1, 0].png"."""
    return f"{slide}-{x}-{y}-[{', '.join(str(int(tag)) for tag in tags)}].png"


def read_training(root: str | Path) -> list[TrainingPatch]:
    """List all training patches of a data set's folder, sorted by name; the images are read on request.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ValueError
        If a name does not give slide, place and tags.
    """
    folder = Path(root) / TRAINING
    patches = [TrainingPatch(path, *parse_name(path.name)) for path in sorted(folder.glob("*.png"))]
    if not patches:
        raise FileNotFoundError(f"no training patches in {folder}.")
    return patches


def read_evaluation(root: str | Path, split: str) -> list[EvaluationImage]:
    """List the images of "validation" or "testing" in the order of their numbers; the files are read on request.

    Raises
    ------
    FileNotFoundError
        If there are none, or an image has no mask or no background mask.
    ValueError
        For another split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}, not {split!r}.")
    folder = Path(root) / SPLITS[split]
    images = []
    for path in sorted((folder / IMAGES).glob("*.png"), key=number):
        beside = [folder / kind / path.name for kind in (MASKS, BACKGROUNDS)]
        for other in beside:
            if not other.is_file():
                raise FileNotFoundError(f"{path} has no mask at {other}.")
        images.append(EvaluationImage(path.stem, path, *beside))
    if not images:
        raise FileNotFoundError(f"no images in {folder / IMAGES}.")
    return images


def number(path: Path) -> tuple[int, str]:
    """Give the key that sorts 2.png before 10.png, and names without a number last."""
    return (int(path.stem) if path.stem.isascii() and path.stem.isdigit() else 10**9, path.name)


def resized(images: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Stretch images of any sizes to one square size, as Li et al. do (to 224): bicubic with antialiasing.

    Parameters
    ----------
    images
        N arrays uint8 (H, W, 3).
    size
        Side of the result in pixels.

    Returns
    -------
    uint8 (N, size, size, 3)

    Raises
    ------
    ValueError
        For no images, an array of another shape or dtype, or a size below 1.
    """
    if size < 1 or not len(images):
        raise ValueError(f"expected images and a size of 1 pixel or more; got {len(images)} and {size}.")
    result = np.empty((len(images), size, size, 3), np.uint8)
    for row, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected images uint8 (H, W, 3); number {row} is {image.dtype} {image.shape}.")
        stretched = Image.fromarray(np.ascontiguousarray(image)).resize((size, size), Image.Resampling.BICUBIC)
        result[row] = np.asarray(stretched)
    return result


def _read(path: Path, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    try:
        return decode(read_bytes(path))
    except ImageError as error:
        raise ValueError(f"{path}: {error}") from error
