"""Whole slides: read at a wanted physical scale, find the tissue, lay a grid of patches.

A slide file holds the same image at several levels. Lessons never ask for a level or for "20x"; they ask for
micrometres per pixel (mpp). `Slide.read` takes the nearest finer level and resamples it. Coordinates are always level-0
(x, y) pixels, as in OpenSlide.

References
----------
- OpenSlide: A. Goode et al., J Pathol Inform 4:27 (2013); https://openslide.org/api/python/
- Otsu's threshold: N. Otsu, IEEE Trans. Syst. Man Cybern. 9(1):62-66 (1979); on saturation as in CLAM,
  M. Y. Lu et al., Nat Biomed Eng 5:555-570 (2021)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import openslide
from PIL import Image
from scipy import ndimage
from skimage import filters, morphology, transform

MAX_UPSAMPLING = 2.0  # beyond this the network would see interpolation, not tissue
_LEVEL_TOLERANCE = 1.02  # Aperio pyramids have downsamples such as 2.0005; asking for 2 means that level
_PLAUSIBLE_MPP = (0.02, 50.0)  # the 72 dpi that image editors write into a TIFF would be 353 µm per pixel
_MAX_PIXELS = 1 << 25  # read in one piece (128 MiB of RGBA); larger regions are read in halves
_THUMBNAIL_MPP = 8.0  # enough to tell tissue from glass


class SlideError(ValueError):
    """A slide that cannot be opened, or a request that it cannot answer. The message says what to do."""


class Slide:
    """An open slide. Use it as a context manager.

    Parameters
    ----------
    path
        Any file that OpenSlide can read.
    mpp
        Micrometres per pixel at level 0. Overrides the value in the file, and is needed where the file has none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    SlideError
        For a folder, a damaged or unsupported file, or a file without a usable scale if `mpp` is not given.
    """

    def __init__(self, path: str | Path, mpp: float | None = None) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        if self.path.is_dir():
            raise SlideError(f"{self.path} is a folder, not a slide. Name the slide file inside it.")
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: there is no such slide file.")
        if mpp is not None:
            _check_mpp(mpp)
        try:
            self._slide = openslide.OpenSlide(self.path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(
                f"{self.path} is not a slide OpenSlide can read: unknown format or damaged file. "
                "Upload or export it again (SVS, NDPI, MRXS or tiled pyramidal TIFF)."
            ) from error
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.path} looks like a slide but is damaged ({error}). Copy it again from its source."
            ) from error
        try:
            self.mpp = float(mpp) if mpp is not None else _mpp_in_file(self.path, self._slide.properties)
        except SlideError:
            self._slide.close()
            raise
        self.dimensions: tuple[int, int] = self._slide.dimensions
        self._closed = False

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        width, height = self.dimensions
        return f"Slide({self.name!r}, {width} x {height} px, {self.mpp:.4g} µm/px)"

    def close(self) -> None:
        """Release the file."""
        self._slide.close()
        self._closed = True

    def read(self, x: float, y: float, size: int | tuple[int, int], mpp: float | None = None) -> np.ndarray:
        """Read a region as uint8 RGB (h, w, 3). Pixels outside the slide, or never scanned, are white.

        Parameters
        ----------
        x, y
            Upper left corner in level-0 pixels; may lie outside the slide.
        size
            Pixels at the wanted scale, one number for a square or (w, h).
        mpp
            Wanted micrometres per pixel; None for the slide's own.

        Raises
        ------
        SlideError
            For a size or mpp that is not positive, an mpp more than 2 times finer than level 0, damaged data, or a
            closed slide.
        """
        if self._closed:
            raise SlideError(f"{self.name}: the slide is closed. Read inside its `with` block.")
        width, height = _check_size(size)
        scale = _check_mpp(self.mpp if mpp is None else mpp) / self.mpp  # level-0 pixels per wanted pixel
        if scale < 1 / (MAX_UPSAMPLING * _LEVEL_TOLERANCE):
            raise SlideError(
                f"{self.name} was scanned at {self.mpp:.4g} µm/px; {mpp:.4g} is more than {MAX_UPSAMPLING:g} "
                f"times finer. Ask for mpp={self.mpp / MAX_UPSAMPLING:.4g} or coarser."
            )
        try:  # once a damaged tile was read, every later call fails too
            level = self._slide.get_best_level_for_downsample(scale * _LEVEL_TOLERANCE)
            return self._read(float(x), float(y), width, height, scale, level)
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.path} is damaged near level-0 (x, y) = ({x:.0f}, {y:.0f}), or where it was read before: "
                f"{error}. Copy it again from its source, then reopen it."
            ) from error

    def thumbnail(self, mpp: float | None = None, max_size: int = 1024) -> np.ndarray:
        """Read the whole slide as uint8 RGB (h, w, 3): at `mpp`, or by default fitted into `max_size` pixels."""
        if mpp is None:
            (max_size, _) = _check_size(max_size)
            mpp = self.mpp * max(1.0, max(self.dimensions) / max_size)
        scale = _check_mpp(mpp) / self.mpp
        width, height = (max(1, round(side / scale)) for side in self.dimensions)
        return self.read(0, 0, (width, height), mpp)

    def _read(self, x: float, y: float, width: int, height: int, scale: float, level: int) -> np.ndarray:
        downsample = self._downsample(level)
        zoom = scale / downsample  # pixels of this level per wanted pixel
        if width * height * zoom * zoom > _MAX_PIXELS and max(width, height) > 1:
            if width >= height:
                half = width // 2
                rest = self._read(x + half * scale, y, width - half, height, scale, level)
                return np.concatenate([self._read(x, y, half, height, scale, level), rest], axis=1)
            half = height // 2
            rest = self._read(x, y + half * scale, width, height - half, scale, level)
            return np.concatenate([self._read(x, y, width, half, scale, level), rest], axis=0)

        # A margin gives the resampling filter its neighbours, so that adjacent regions join without a seam.
        margin = math.ceil(zoom) + 1
        left, top = math.floor(x / downsample) - margin, math.floor(y / downsample) - margin
        columns = math.ceil(x / downsample + width * zoom) + margin - left
        rows = math.ceil(y / downsample + height * zoom) + margin - top
        reported = self._slide.level_downsamples[level]
        corner = round(left * reported), round(top * reported)
        rgba = self._slide.read_region(corner, level, (columns, rows))
        region = Image.new("RGB", rgba.size, (255, 255, 255))
        region.paste(rgba, mask=rgba.getchannel("A"))
        x0, y0 = x / downsample - left, y / downsample - top
        box = (x0, y0, x0 + width * zoom, y0 + height * zoom)
        # Pillow's bilinear filter widens with the reduction, so it averages rather than skips pixels.
        return np.asarray(region.resize((width, height), Image.Resampling.BILINEAR, box=box))

    def _downsample(self, level: int) -> float:
        """Round the level's downsample: OpenSlide divides sizes, so that half an odd width gives 2.0005."""
        reported = self._slide.level_downsamples[level]
        whole = round(reported)
        sizes = zip(self.dimensions, self._slide.level_dimensions[level], strict=True)
        fits = all(below // whole <= size <= -(-below // whole) for below, size in sizes)
        return float(whole) if fits else reported


def tissue_mask(rgb: np.ndarray, min_object: int = 64, min_hole: int = 64) -> np.ndarray:
    """Find where a thumbnail shows tissue: bool (H, W).

    Stained tissue is coloured, glass and shadow are grey: the mask is Otsu's threshold on the smoothed saturation. The
    threshold is kept in the range that separates stain from glass, because Otsu splits even an image of one kind.

    Parameters
    ----------
    rgb
        uint8 (H, W, 3).
    min_object, min_hole
        Islands and holes of at most so many pixels are removed and filled.

    Raises
    ------
    ValueError
        If `rgb` is not a uint8 RGB image.
    """
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"tissue_mask needs a uint8 RGB image (H, W, 3), not {rgb.dtype} {rgb.shape}.")
    smooth = ndimage.gaussian_filter(rgb.astype(np.float32), sigma=(1, 1, 0))
    brightest, darkest = smooth.max(axis=2), smooth.min(axis=2)
    saturation = (brightest - darkest) / np.maximum(brightest, 1)
    saturation[brightest < 30] = 0  # ink, dust and scanner borders: black has no hue
    threshold = np.clip(filters.threshold_otsu(saturation), 0.05, 0.10)
    mask = saturation > threshold
    few = mask.size // 10  # in a tiny image an island or a hole of that size is the image
    mask = morphology.remove_small_objects(mask, max_size=min(min_object, few))
    return morphology.remove_small_holes(mask, max_size=min(min_hole, few))


def patch_grid(
    slide: Slide, patch: int = 256, mpp: float = 0.5, stride: int | None = None, min_tissue: float = 0.5
) -> np.ndarray:
    """Return the upper left corners of the patches that show tissue, all wholly inside the slide.

    Parameters
    ----------
    slide
        An open slide.
    patch, stride
        Pixels at `mpp`; stride None means patch, without overlap.
    mpp
        Micrometres per pixel of the patches.
    min_tissue
        Least share of tissue in a patch, 0 to 1; 0 keeps every patch.

    Returns
    -------
    coords : (N, 2) int64
        Level-0 (x, y), row by row. N is 0 where there is no tissue.

    Raises
    ------
    SlideError
        If the patch is larger than the slide, or patch, stride, mpp or min_tissue is out of range.
    """
    (patch, _), (stride, _) = _check_size(patch), _check_size(patch if stride is None else stride)
    if not 0 <= min_tissue <= 1:
        raise SlideError(f"min_tissue is a share between 0 and 1, not {min_tissue}.")
    scale = _check_mpp(mpp) / slide.mpp
    side, step = patch * scale, stride * scale  # level-0 pixels
    width, height = slide.dimensions
    if round(side) > min(width, height):
        raise SlideError(
            f"A patch of {patch} px at {mpp:g} µm/px covers {side:.0f} level-0 pixels, but {slide.name} is "
            f"only {width} x {height}. Ask for a smaller patch or a finer mpp."
        )
    columns, rows = (max(0, math.floor((extent - side) / step)) + 1 for extent in (width, height))
    xs, ys = np.rint(np.arange(columns) * step), np.rint(np.arange(rows) * step)
    x, y = (axis.ravel() for axis in np.meshgrid(xs, ys))
    coords = np.stack([x, y], axis=1).astype(np.int64)
    if min_tissue == 0:
        return coords

    # At least 16 thumbnail pixels per side of a patch, so that the share of tissue is not too coarse.
    coarse = max(slide.mpp, min(_THUMBNAIL_MPP, patch * mpp / 16))
    mask = tissue_mask(slide.thumbnail(coarse))
    table = np.pad(transform.integral_image(mask.astype(np.int64)), ((1, 0), (1, 0)))
    shrink = slide.mpp / coarse
    (y0, y1), (x0, x1) = (
        (
            np.rint(axis * shrink).astype(int).clip(0, limit - 1),
            np.rint((axis + side) * shrink).astype(int).clip(1, limit),
        )
        for axis, limit in zip((y, x), mask.shape, strict=True)
    )
    tissue = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    return coords[tissue >= min_tissue * (x1 - x0) * (y1 - y0)]


def read_patches(slide: Slide, coords: np.ndarray, patch: int, mpp: float) -> np.ndarray:
    """Read patches at level-0 (x, y) corners `coords` (N, 2): uint8 (N, patch, patch, 3) at `mpp`.

    Raises
    ------
    SlideError
        For coords of another shape, and as `Slide.read`.
    """
    coords = np.asarray(coords)
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise SlideError(f"coords are level-0 (x, y) corners of shape (N, 2), not {coords.shape}.")
    (patch, _) = _check_size(patch)
    patches = np.empty((len(coords), patch, patch, 3), dtype=np.uint8)
    for index, (x, y) in enumerate(coords):
        patches[index] = slide.read(x, y, patch, mpp)
    return patches


def _check_mpp(mpp: float) -> float:
    if not (math.isfinite(mpp) and mpp > 0):
        raise SlideError(f"mpp is in micrometres per pixel and must be positive, not {mpp}.")
    return float(mpp)


def _check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    try:
        wanted = size if isinstance(size, tuple | list) else (size, size)
        width, height = map(operator.index, wanted)
    except (TypeError, ValueError) as error:
        raise SlideError(f"A size is a whole number of pixels or (width, height), not {size!r}.") from error
    if min(width, height) < 1:
        raise SlideError(f"A size must be at least 1 pixel, not {size!r}.")
    return width, height


def _mpp_in_file(path: Path, properties: Mapping[str, str]) -> float:
    supply = f"Give the scale yourself: Slide({path.name!r}, mpp=...); 40x is usually near 0.25, 20x near 0.5."
    try:
        x, y = float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"])
    except (KeyError, ValueError) as error:
        raise SlideError(f"{path} does not say how many micrometres a pixel is (mpp). {supply}") from error
    low, high = _PLAUSIBLE_MPP
    if not (low <= x <= high and low <= y <= high):
        raise SlideError(f"{path} claims {x:g} x {y:g} µm per pixel, which no slide scanner makes. {supply}")
    if abs(x - y) > 0.05 * max(x, y):
        raise SlideError(f"{path} has oblong pixels ({x:g} x {y:g} µm), which are not handled. {supply}")
    return (x + y) / 2
