"""Images to start with: phantoms, and real tissue if it is in the data folder and its licence allows it."""

from __future__ import annotations

from collections.abc import Iterator

from skimage import data as skimage_data

from demos.cvm.images import InputImage, make_image
from demos.shared import phantoms
from histolab_lite.data.manifests import load_manifest
from histolab_lite.data.tiles import load_tiles

PHANTOMS, PHANTOM_SIZE = 3, 768
TILES = {"ocdc": ("Oral carcinoma", (0, 4, 8)), "glas": ("Colon, H&E", (5, 14, 40))}


def samples(public: bool) -> dict[str, InputImage]:
    """Key -> image, in the order of the menu.

    public: whether other machines can reach the page. Data sets that must not be redistributed are then left out. Data
    sets that are not in the data folder are always left out.
    """
    return {image.key: image for image in [_immunohistochemistry(), *_phantoms(), *_real(public)]}


def _immunohistochemistry() -> InputImage:
    return make_image(
        skimage_data.immunohistochemistry(),
        "skimage-ihc",
        "Colon glands, immunohistochemistry",
        caption="From scikit-image: FHL2 protein in brown (DAB), haematoxylin counterstain. Scale not known.",
    )


def _phantoms() -> Iterator[InputImage]:
    tiles = phantoms.bundled()
    for number, tile in enumerate(tiles.tiles[:PHANTOMS], 1):
        yield make_image(
            tile.read_image()[:PHANTOM_SIZE, :PHANTOM_SIZE],
            tile.name,
            f"Phantom slide {number}",
            mpp=tiles.mpp,
            caption="A phantom slide: drawn by a program to look like H&E. No real tissue.",
        )


def _real(public: bool) -> Iterator[InputImage]:
    for name, (title, chosen) in TILES.items():
        manifest = load_manifest(name)
        if (public and not manifest.redistribution) or not manifest.is_available():
            continue
        tiles = load_tiles(manifest)
        for index in chosen:
            yield make_image(
                tiles[index].read_image(),
                f"{name}-{tiles[index].name}",
                f"{title}, {tiles[index].name}",
                mpp=tiles.mpp,
                caption=f"{manifest.citation} {manifest.licence}",
            )
