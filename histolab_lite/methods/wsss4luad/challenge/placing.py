"""Where to cut patches and pictures from slides whose tissue is known, so that their tags are as unequal as in Fig. 4.

[1, 1, 0] is most frequent, then come [1, 0, 0], [0, 0, 1] and [0, 1, 0]; normal tissue is hardly ever beside another
(Sect. III-D1), and half of the patches have one tag (Sect. IV-B1).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from histolab_lite.methods.wsss4luad.challenge.files import CLASSES, Tags

#: Tags that a patch may have, and the share of such patches.
SHARES: tuple[tuple[tuple[Tags, ...], float], ...] = (
    (((1, 1, 0),), 0.50),
    (((1, 0, 0),), 0.20),
    (((0, 0, 1),), 0.16),
    (((0, 1, 0),), 0.13),
    (((0, 1, 1), (1, 0, 1), (1, 1, 1)), 0.01),
)
LEAST_CLASS = 0.05  # of the tissue in a patch: what is less, nobody ticks
LEAST_TISSUE = 0.5  # of a patch or picture
STEP = 8  # pixels between the places that are looked at
TRIES = 40  # sizes tried for a patch, before there is no place for it


class Place(NamedTuple):
    """Rows and columns of a picture on the slide of this index. tags: of a patch; of other pictures (0, 0, 0)."""

    slide: int
    row: int
    col: int
    height: int
    width: int
    tags: Tags = (0, 0, 0)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The part (height, width[, …]) of a slide's picture or mask."""
        return array[self.row : self.row + self.height, self.col : self.col + self.width]


def place_patches(labels: Sequence[np.ndarray], n: int, sides: tuple[int, int], seed: int) -> list[Place]:
    """n training patches with sides drawn from ``sides`` (least, greatest), tagged in the ``SHARES``, slides in turn.

    labels: uint8 (H, W) a slide, 0 to 2, anything else is white. A class is tagged that covers more than
    ``LEAST_CLASS`` of the tissue. On a slide patches lie as far from each other as the tissue allows, and may overlap;
    a size for which no slide has a place is drawn again. ValueError if there is no place at all for some tags.
    """
    random = np.random.default_rng(seed)
    sums = [_integrals(label) for label in labels]
    used: list[list[tuple[float, float]]] = [[] for _ in labels]  # centres, (row, col)
    corners: set[tuple[int, int, int]] = set()
    places: list[Place] = []
    for kind in random.permutation(np.repeat(np.arange(len(SHARES)), _quotas(n))):
        wanted = SHARES[kind][0]
        for attempt in range(TRIES):
            height, width = random.integers(sides[0], sides[1] + 1, 2) if attempt < TRIES - 1 else (sides[0],) * 2
            order = sorted(random.permutation(len(labels)).tolist(), key=lambda slide: len(used[slide]))
            found = None
            for slide in order:
                found = _find(sums[slide], slide, int(height), int(width), wanted, used[slide], corners, random)
                if found:
                    break
            if found:
                break
        else:
            raise ValueError(
                f"after {len(places)} patches, {len(labels)} slides have no place for another one tagged {wanted[0]}; "
                f"take more or larger slides, or smaller patches than {sides}."
            )
        used[found.slide].append((found.row + found.height / 2, found.col + found.width / 2))
        corners.add(found[:3])
        places.append(found)
    return places


def place_pictures(
    labels: Sequence[np.ndarray], n: int, sides: tuple[int, int], seed: int | Sequence[int]
) -> list[Place]:
    """n pictures to evaluate on, around pixels of tumour, stroma and normal in turn, slides in turn.

    labels: as of ``place_patches``. Half of a picture or more is tissue, as far as can be.
    """
    random = np.random.default_rng(seed)
    places: list[Place] = []
    for number in range(n):
        slide = number % len(labels)
        tissue = labels[slide] < len(CLASSES)
        pixels = np.argwhere(labels[slide] == (slide + number // len(labels)) % len(CLASSES))
        pixels = pixels if len(pixels) else np.argwhere(tissue)
        if not len(pixels):
            raise ValueError(f"slide {slide} shows no tissue.")
        best, most = None, -1.0
        for _ in range(20):
            height, width = (int(side) for side in random.integers(sides[0], sides[1] + 1, 2))
            centre = pixels[random.integers(len(pixels))]
            shifted = centre - [height, width] * random.uniform(0.25, 0.75, 2)  # the class is not always in the middle
            row, col = np.clip(shifted.astype(int), 0, [tissue.shape[0] - height, tissue.shape[1] - width])
            place = Place(slide, int(row), int(col), height, width)
            share = float(place.cut(tissue).mean())
            if share > most and place not in places:
                best, most = place, share
            if most >= LEAST_TISSUE:
                break
        if best is None:
            raise ValueError(f"slide {slide} has no place for another picture.")
        places.append(best)
    return places


def _quotas(n: int) -> np.ndarray:
    """Whole numbers of patches in the ``SHARES``, of sum n: the largest remainders are rounded up."""
    exact = np.array([share for _, share in SHARES]) * n
    counts = exact.astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts


def _integrals(label: np.ndarray) -> np.ndarray:
    """Pixels of each class above and left of every corner: int32 (3, H + 1, W + 1)."""
    sums = np.zeros((len(CLASSES), label.shape[0] + 1, label.shape[1] + 1), np.int32)
    for k in range(len(CLASSES)):
        (label == k).cumsum(0, dtype=np.int32).cumsum(1, out=sums[k, 1:, 1:])
    return sums


def _find(
    sums: np.ndarray,
    slide: int,
    height: int,
    width: int,
    wanted: Sequence[Tags],
    used: Sequence[tuple[float, float]],
    corners: set[tuple[int, int, int]],
    random: np.random.Generator,
) -> Place | None:
    """The place of this size and these tags that is farthest from those in use; None if there is none."""
    spare = (sums.shape[1] - 1 - height, sums.shape[2] - 1 - width)
    if min(spare) < 0:
        return None
    rows, cols = (np.arange(random.integers(min(STEP, room + 1)), room + 1, STEP) for room in spare)
    counts = (
        sums[:, rows + height][:, :, cols + width]
        - sums[:, rows][:, :, cols + width]
        - sums[:, rows + height][:, :, cols]
        + sums[:, rows][:, :, cols]
    )  # (3, R, C)
    tissue = counts.sum(0)
    tags = counts > LEAST_CLASS * tissue
    suits = np.zeros(tissue.shape, bool)
    for combination in wanted:
        suits |= (tags == np.array(combination, bool)[:, None, None]).all(0)
    candidates = np.argwhere(suits & (tissue >= LEAST_TISSUE * height * width))
    if not len(candidates):
        return None
    row, col = rows[candidates[:, 0]], cols[candidates[:, 1]]
    apart = np.full(len(candidates), np.inf)
    for top, left in used:
        np.minimum(apart, np.hypot(row + height / 2 - top, col + width / 2 - left), out=apart)
    apart += random.uniform(0, 16, len(apart)) if used else 0  # near ties are drawn, or the first would lie in a corner
    for best in np.argsort(-apart, kind="stable") if used else random.permutation(len(candidates)):
        if (slide, int(row[best]), int(col[best])) not in corners:
            found = tags[:, candidates[best, 0], candidates[best, 1]].astype(int).tolist()
            return Place(slide, int(row[best]), int(col[best]), height, width, (found[0], found[1], found[2]))
    return None
