"""The challenge on phantom slides: its folders, names, sizes and class imbalance, without registration.

Of the paper are the folders and names (Fig. 4c), the sizes and the frequencies of tags (Sect. III-D; see ``placing``).
Phantom tissue becomes the challenge's: tumour and necrosis are tumour, stroma and lymphocytes stroma, normal gland is
normal; what is background, or white by ``foreground``, is white background. Training, validation and testing have
slides of their own, and every slide its own stain. A place (x, y) in a name is in pixels of the phantom slide.
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
#: Class of the challenge for each of ``phantom.CLASS_NAMES``.
CHALLENGE_IDS = np.array([BACKGROUND, 1, 0, 1, 0, 2], dtype=np.uint8)
MOST_SLIDES = 1000  # of one seed, as in ``load_tiles``; large pictures are numbered from its end
AT_ONCE = 4  # large pictures made at a time: each takes some 100 bytes a pixel


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

    n_training: patches; the paper has 10,091. n_validation, n_testing: small and large pictures; the paper has
    (31, 9) and (66, 14). n_slides: of training, validation and testing, each ``slide`` pixels a side; a large picture
    is a slide of its own. The paper has 63, 12 and 12. patch, small, large: least and greatest side in pixels.
    seed: two seeds share no slide; the same settings give the same files. mpp: micrometres per pixel.

    The folder appears whole or not at all. One that is there with the same settings is left as it is and returned.
    ValueError for settings that cannot be, a folder that is there with other settings or other files in it, or slides
    with too little of a tissue.
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
                _write_pictures(folder, 0, _small(own, n_small, small, [seed, index]))
                large_numbers = [next(numbers) for _ in range(n_large)]
                _write_pictures(folder, n_small, _large(large_numbers, large, mpp), bar)
        (building / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        building.chmod(0o755)  # mkdtemp's folders are for their owner alone
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        try:
            building.rename(root)
        except OSError:
            if not _is_there(root, settings):  # else another process made the same meanwhile
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def training_masks(root: str | Path) -> list[np.ndarray]:
    """What the training patches of a phantom show, which nobody drew in the challenge: class ids (H, W), 255 is white.

    One a patch, uint8, in the order of ``read_training``; read from the slides they were cut from.
    ValueError for a folder that is no phantom, or one that another version made.
    """
    try:
        settings = json.loads((Path(root) / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{root} is no phantom data set: its patches have no masks.") from None
    if settings.get("generator") != _generator():
        raise ValueError(f"another version made {root}, and its slides are gone; make it again.")
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
    """A phantom slide's mask in the challenge's ids, uint8 (H, W), 3 where it is background or the picture is white."""
    return np.where(foreground(image), CHALLENGE_IDS[mask], np.uint8(BACKGROUND))


def _slides(n_slides: Sequence[int], size: int, seed: int, mpp: float, bar: tqdm) -> Sequence[Tile]:
    """All slides, a few at a time to show how far they are; generated ones are kept in the user cache."""
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
    for place in placing.place_pictures(labels, n, sides, seed) if n else []:
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


def _write_pictures(
    folder: Path, first: int, pictures: Iterator[tuple[np.ndarray, np.ndarray]], bar: tqdm | None = None
) -> None:
    for kind in (IMAGES, MASKS, BACKGROUNDS):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number, (image, mask) in enumerate(pictures, start=first):
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
    """A digest of the code that makes slides and cuts them: what another version made is no longer the same."""
    digest = hashlib.sha256()
    for source in [*sorted(Path(phantom.__file__).parent.glob("*.py")), Path(placing.__file__), Path(__file__)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _is_there(root: Path, settings: dict[str, object]) -> bool:
    """Is the data set there, with these settings? ValueError for anything else in its place."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{root} is there and is no phantom data set; take another folder.")
    differing = sorted(key for key in settings.keys() | found.keys() if settings.get(key) != found.get(key))
    if differing:
        raise ValueError(
            f"{root} was made with other settings ({', '.join(differing)}); take another folder, or delete this one."
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
        raise ValueError("expected at least one training patch, and pictures of validation and of testing.")
    if min(n_slides) < 1 or sum(n_slides) + n_validation[1] + n_testing[1] > MOST_SLIDES or seed < 0:
        raise ValueError(f"expected a slide or more of each kind, {MOST_SLIDES} in all, and a seed of 0 or more.")
    for name, (least, greatest) in sides.items():
        if not 1 <= least <= greatest:
            raise ValueError(f"{name} is the least and the greatest side in pixels, not {(least, greatest)}.")
    for name in ("patch", "small"):
        if sides[name][1] > slide:
            raise ValueError(f"{name} of up to {sides[name][1]} px does not fit slides of {slide} px.")
    if (n_validation[1] or n_testing[1]) and sides["large"][0] < phantom.SMALLEST or slide < phantom.SMALLEST:
        raise ValueError(f"slides and large pictures have at least {phantom.SMALLEST} px a side.")
