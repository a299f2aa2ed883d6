"""Where to cut patches and images from slides with known tissue, so that tags are as frequent as in Fig. 4.

[1, 1, 0] is most frequent, then come [1, 0, 0], [0, 0, 1] and [0, 1, 0]; normal tissue is hardly ever beside another
(Sect. III-D1), and half of the patches have a single tag (Sect. IV-B1).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from histolab_lite.methods.wsss4luad.challenge.files import CLASSES, Tags

#: Alternative tags of a patch, and the share of such patches.
SHARES: tuple[tuple[tuple[Tags, ...], float], ...] = (
    (((1, 1, 0),), 0.50),
    (((1, 0, 0),), 0.20),
    (((0, 0, 1),), 0.16),
    (((0, 1, 0),), 0.13),
    (((0, 1, 1), (1, 0, 1), (1, 1, 1)), 0.01),
)
LEAST_CLASS = 0.05  # share of a patch's tissue above which a class is tagged
LEAST_TISSUE = 0.5  # share of tissue in a patch or image
STEP = 8  # pixels between the places that are tried
TRIES = 40  # sizes that are tried for a patch before an error is raised


class Place(NamedTuple):
    """A rectangle on the slide with this index; tags are those of a patch, and (0, 0, 0) for an image."""

    slide: int
    row: int
    col: int
    height: int
    width: int
    tags: Tags = (0, 0, 0)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Cut the rectangle from a slide's image or mask: (H, W[, …]) -> (height, width[, …])."""
        return array[self.row : self.row + self.height, self.col : self.col + self.width]


def place_patches(labels: Sequence[np.ndarray], n: int, sides: tuple[int, int], seed: int) -> list[Place]:
    """Place n training patches whose tags have the frequencies of `SHARES`, on the slides in turn.

    A class is tagged if it covers more than `LEAST_CLASS` of the patch's tissue. Patches lie as far from each other as
    the tissue allows, and may overlap. If no slide has a place for a size, another size is drawn.

    Parameters
    ----------
    labels
        uint8 (H, W) per slide: classes 0 to 2, anything else is white.
    n
        Number of patches.
    sides
        Smallest and largest side in pixels.
    seed
        Random seed.

    Raises
    ------
    ValueError
        If no slide has a place for a patch with the wanted tags.
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
                f"use more or larger slides, or smaller patches than {sides}."
            )
        used[found.slide].append((found.row + found.height / 2, found.col + found.width / 2))
        corners.add(found[:3])
        places.append(found)
    return places


def place_images(
    labels: Sequence[np.ndarray], n: int, sides: tuple[int, int], seed: int | Sequence[int]
) -> list[Place]:
    """Place n images for evaluation, around pixels of tumour, stroma and normal in turn, on the slides in turn.

    At least half of an image is tissue wherever a slide allows it. The parameters are those of `place_patches`; a
    sequence of numbers can serve as the random seed.

    Raises
    ------
    ValueError
        If a slide has no tissue, or no place for another image.
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
            raise ValueError(f"slide {slide} has no place for another image.")
        places.append(best)
    return places


def _quotas(n: int) -> np.ndarray:
    """Round the `SHARES` of n to whole numbers with sum n: the largest remainders are rounded up."""
    exact = np.array([share for _, share in SHARES]) * n
    counts = exact.astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts


def _integrals(label: np.ndarray) -> np.ndarray:
    """Count the pixels of each class above and left of every corner: int32 (3, H + 1, W + 1)."""
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
    """Find the place of this size and these tags that is farthest from those in use; None if there is none."""
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
    apart += (
        random.uniform(0, 16, len(apart)) if used else 0
    )  # random among near ties: otherwise the first place would be in a corner
    for best in np.argsort(-apart, kind="stable") if used else random.permutation(len(candidates)):
        if (slide, int(row[best]), int(col[best])) not in corners:
            found = tags[:, candidates[best, 0], candidates[best, 1]].astype(int).tolist()
            return Place(slide, int(row[best]), int(col[best]), height, width, (found[0], found[1], found[2]))
    return None
