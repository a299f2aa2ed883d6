"""Practice data on phantom slides: the challenge's folders, names, sizes and class imbalance, without registration.

Folders and names follow Fig. 4c of the paper, sizes and frequencies of tags Sect. III-D (see `placing`). Classes of
the phantom become those of the challenge: tumour and necrosis are tumour; stroma and lymphocytes are stroma; normal
gland is normal; background, and pixels that are white by `foreground`, are white background. Training, validation and
testing use different slides, and each slide has its own stain. The place (x, y) in a name is in pixels of the slide.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from joblib import delayed
from PIL import Image
from tqdm.auto import tqdm

from histolab_lite.data import IGNORE, phantom
from histolab_lite.data.tiles import Tile, load_tiles
from histolab_lite.data.workers import parallel
from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.wsss4luad.challenge import placing
from histolab_lite.methods.wsss4luad.challenge.checks import LARGE_SIDES, PATCH_SIDES, SMALL_SIDES
from histolab_lite.methods.wsss4luad.challenge.files import (
    BACKGROUND,
    BACKGROUNDS,
    IMAGES,
    MASKS,
    MPP,
    PALETTE,
    SPLITS,
    TRAINING,
    read_training,
    training_name,
)
from histolab_lite.methods.wsss4luad.challenge.foreground import foreground

SETTINGS = "phantom.json"
#: Class of the challenge for each of `phantom.CLASS_NAMES`.
CHALLENGE_IDS = np.array([BACKGROUND, 1, 0, 1, 0, 2], dtype=np.uint8)
MOST_SLIDES = 1000  # per random seed, as in `load_tiles`; large images are numbered from the end of this range
AT_ONCE = 4  # large images made in parallel: each takes about 100 bytes per pixel


def make_phantom(
    root: str | Path,
    *,
    n_training: int = 600,
    n_validation: tuple[int, int] = (12, 0),
    n_testing: tuple[int, int] = (16, 1),
    n_slides: tuple[int, int, int] = (12, 3, 4),
    slide: int = 768,
    seed: int = 0,
    mpp: float = MPP,
    patch: tuple[int, int] = PATCH_SIDES,
    small: tuple[int, int] = SMALL_SIDES,
    large: tuple[int, int] = LARGE_SIDES,
    progress: bool = True,
) -> Path:
    """Write a data set of the challenge's kind, and return its folder.

    The folder appears whole or not at all. If it exists with the same settings, it stays as it is.

    Parameters
    ----------
    n_training
        Number of patches; the paper has 10,091.
    n_validation, n_testing
        Numbers of small and large images; the paper has (31, 9) and (66, 14).
    n_slides
        Numbers of slides for training, validation and testing; the paper has 63, 12 and 12. Each large image is a
        further slide.
    slide
        Side of a slide in pixels.
    seed
        Random seed. Two seeds share no slide; the same settings give the same files.
    mpp
        Micrometres per pixel.
    patch, small, large
        Smallest and largest side of patches, small images and large images, in pixels.
    progress
        Whether to show a progress bar.

    Raises
    ------
    ValueError
        For impossible settings, an existing folder with other settings or other files, or slides with too little of a
        tissue.
    """
    root = Path(root)
    settings: dict[str, object] = {
        "n_training": n_training,
        "n_validation": [*n_validation],
        "n_testing": [*n_testing],
        "n_slides": [*n_slides],
        "slide": slide,
        "seed": seed,
        "mpp": mpp,
        "patch": [*patch],
        "small": [*small],
        "large": [*large],
        "generator": _generator(),
    }
    _check(n_training, n_validation, n_testing, n_slides, slide, seed, {"patch": patch, "small": small, "large": large})
    if _is_there(root, settings):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        with tqdm(total=sum(n_slides) + n_validation[1] + n_testing[1], unit="slide", disable=not progress) as bar:
            tiles = _slides(n_slides, slide, seed, mpp, bar)
            ends = np.cumsum(n_slides)
            _write_training(building / TRAINING, tiles[: ends[0]], n_training, patch, seed)
            numbers = iter(range(seed * MOST_SLIDES + MOST_SLIDES - 1, 0, -1))
            for index, (n_small, n_large) in enumerate((n_validation, n_testing)):
                folder = building / tuple(SPLITS.values())[index]
                own = tiles[ends[index] : ends[index + 1]]
                _write_images(folder, 0, _small(own, n_small, small, [seed, index]))
                large_numbers = [next(numbers) for _ in range(n_large)]
                _write_images(folder, n_small, _large(large_numbers, large, mpp), bar)
        (building / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        building.chmod(0o755)  # only the owner can read a folder of mkdtemp
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        try:
            building.rename(root)
        except OSError:
            if not _is_there(root, settings):  # otherwise another process has just made the same data set
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def training_masks(root: str | Path) -> list[np.ndarray]:
    """Read the true masks of a phantom's training patches, which the real challenge does not have.

    Returns
    -------
    list of uint8 (H, W)
        Class ids, 255 for white; one mask per patch, in the order of `read_training`.

    Raises
    ------
    ValueError
        If the folder is no phantom data set, or another version of the generator made it.
    """
    try:
        settings = json.loads((Path(root) / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{root} is no phantom data set: its patches have no masks.") from None
    if settings.get("generator") != _generator():
        raise ValueError(f"another version of the generator made {root}; delete it and make it again.")
    n_slides, size = settings["n_slides"][0], settings["slide"]
    tiles = load_tiles("phantom", n_slides=n_slides, size=size, seed=settings["seed"], mpp=settings["mpp"])
    masks = {tile.name.removeprefix("phantom_"): challenge_mask(*_read(tile)) for tile in tiles}
    cut = []
    for patch in read_training(root):
        height, width = patch.image().shape[:2]
        mask = masks[patch.slide][patch.y : patch.y + height, patch.x : patch.x + width]
        cut.append(np.where(mask == BACKGROUND, np.uint8(IGNORE), mask))
    return cut


def challenge_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Convert a phantom slide's mask to the challenge's ids, uint8 (H, W): 3 for background and white pixels."""
    return np.where(foreground(image), CHALLENGE_IDS[mask], np.uint8(BACKGROUND))


def _slides(n_slides: Sequence[int], size: int, seed: int, mpp: float, bar: tqdm) -> Sequence[Tile]:
    """Load all slides, a few at a time for the progress bar; the user cache keeps them."""
    total, step = sum(n_slides), os.cpu_count() or 1
    for done in [*range(step, total, step), total]:
        tiles = load_tiles("phantom", n_slides=done, size=size, seed=seed, mpp=mpp).tiles
        bar.update(done - bar.n)
    return tiles


def _write_training(folder: Path, tiles: Sequence[Tile], n: int, sides: tuple[int, int], seed: int) -> None:
    folder.mkdir()
    places = placing.place_patches([challenge_mask(*_read(tile)) for tile in tiles], n, sides, seed)
    for index, tile in enumerate(tiles):
        image = tile.read_image()
        for place in places:
            if place.slide == index:
                name = training_name(tile.name.removeprefix("phantom_"), place.col, place.row, place.tags)
                _save(place.cut(image), folder / name)


def _small(
    tiles: Sequence[Tile], n: int, sides: tuple[int, int], seed: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    slides = [_read(tile) for tile in tiles[:n]]
    labels = [challenge_mask(*slide) for slide in slides]
    for place in placing.place_images(labels, n, sides, seed) if n else []:
        yield place.cut(slides[place.slide][0]), place.cut(labels[place.slide])


def _large(numbers: Sequence[int], sides: tuple[int, int], mpp: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    shapes = [np.random.default_rng([number, 12]).integers(sides[0], sides[1] + 1, 2).tolist() for number in numbers]
    jobs = max(min(len(numbers), os.cpu_count() or 1, AT_ONCE), 1)
    yield from parallel(jobs, return_as="generator")(
        delayed(_make_large)(number, shape, mpp) for number, shape in zip(numbers, shapes, strict=True)
    )


def _make_large(seed: int, shape: tuple[int, int], mpp: float) -> tuple[np.ndarray, np.ndarray]:
    slide = phantom.phantom_slide(seed, shape, mpp)
    return slide.image, challenge_mask(slide.image, slide.mask)


def _write_images(
    folder: Path, first: int, images: Iterator[tuple[np.ndarray, np.ndarray]], bar: tqdm | None = None
) -> None:
    for kind in (IMAGES, MASKS, BACKGROUNDS):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number, (image, mask) in enumerate(images, start=first):
        name = f"{number:02d}.png"
        _save(image, folder / IMAGES / name)
        (folder / MASKS / name).write_bytes(mask_png(mask, PALETTE))
        (folder / BACKGROUNDS / name).write_bytes(mask_png(mask == BACKGROUND, ((0, 0, 0), (255, 255, 255))))
        if bar is not None:
            bar.update()


def _read(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    return tile.read_image(), tile.read_mask()


def _save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(image)).save(path, compress_level=1)


def _generator() -> str:
    """Hash the code that makes and cuts slides: another version makes other files."""
    digest = hashlib.sha256()
    for source in [*sorted(Path(phantom.__file__).parent.glob("*.py")), Path(placing.__file__), Path(__file__)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _is_there(root: Path, settings: dict[str, object]) -> bool:
    """Tell whether the data set exists with these settings; ValueError for anything else in its place."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{root} exists and is no phantom data set; choose another folder.")
    differing = sorted(key for key in settings.keys() | found.keys() if settings.get(key) != found.get(key))
    if differing:
        raise ValueError(
            f"{root} was made with other settings ({', '.join(differing)}); choose another folder, or delete this one."
        )
    return True


def _check(
    n_training: int,
    n_validation: tuple[int, int],
    n_testing: tuple[int, int],
    n_slides: tuple[int, int, int],
    slide: int,
    seed: int,
    sides: Mapping[str, tuple[int, int]],
) -> None:
    if n_training < 1 or min(*n_validation, *n_testing) < 0 or 0 in (sum(n_validation), sum(n_testing)):
        raise ValueError("expected at least one training patch, one validation image and one testing image.")
    if min(n_slides) < 1 or sum(n_slides) + n_validation[1] + n_testing[1] > MOST_SLIDES or seed < 0:
        raise ValueError(
            f"expected at least one slide of each kind, at most {MOST_SLIDES} in all, and a seed of 0 or more."
        )
    for name, (least, greatest) in sides.items():
        if not 1 <= least <= greatest:
            raise ValueError(f"{name} is the smallest and the largest side in pixels, not {(least, greatest)}.")
    for name in ("patch", "small"):
        if sides[name][1] > slide:
            raise ValueError(f"{name} of up to {sides[name][1]} px does not fit slides of {slide} px.")
    if (n_validation[1] or n_testing[1]) and sides["large"][0] < phantom.SMALLEST or slide < phantom.SMALLEST:
        raise ValueError(f"slides and large images have sides of at least {phantom.SMALLEST} px.")
