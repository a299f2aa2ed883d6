"""The results: tissue, direct query, cluster-then-query and truth side by side, and a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from demos.proto2seg.query import Answer
from demos.proto2seg.samples import Clusters, Tile
from demos.proto2seg.session import Session
from demos.proto2seg.views import badge, letters
from demos.shared.markup import as_uri, covering, region_marks, scale_bar, unseen
from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.proto2seg import PrototypeDictionary

# Okabe and Ito's colours, for a dictionary with other classes than the samples.
COLOURS = (
    (240, 228, 66), (213, 94, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0),
    (0, 0, 0), (221, 221, 221),
)  # fmt: skip
Palette = Sequence[tuple[int, int, int]]


def tile_images(tile: Tile, palette: Palette) -> str:
    """The tissue and its truth, which the views refer to."""
    whole = covering(tile.size)
    images = f'<image id="tissue-tile" href="{as_uri(tile.jpeg, "image/jpeg")}" {whole}/>'
    if tile.truth is not None:
        images += f'<image id="truth-tile" href="{as_uri(mask_png(tile.truth, palette), "image/png")}" {whole}/>'
    return unseen(images)


def palette_of(dictionary: PrototypeDictionary | None, clusters: Clusters) -> Palette:
    """The samples' colours for the samples' classes, else ``COLOURS``."""
    own = dictionary is None or dictionary.class_names == clusters.class_names
    return clusters.palette if own else COLOURS


def results(session: Session, dictionary: PrototypeDictionary | None, answer: Answer | None) -> str:
    """Four images and a table; before the first name, what to do."""
    tile, clusters = session.tile, session.clusters
    assert tile is not None
    assert clusters is not None
    names = clusters.class_names if dictionary is None else dictionary.class_names
    palette = palette_of(dictionary, clusters)
    marks = dict(enumerate(letters(names)))
    width = f", {tile.size[1] * tile.mpp:.0f} µm wide" if tile.mpp else ", scale not known"
    views = [_figure(tile, "Tissue", f"{escape(tile.title)}{width}", "")]
    titles = ("DQ, place by place", "CQ, by groups")
    masks = (answer.direct, answer.grouped) if answer else (None, None)
    for number, (title, ids) in enumerate(zip(titles, masks, strict=True)):
        if ids is None:
            views.append('<figure class="none"><p>Name a cluster, and its mask appears here.</p></figure>')
            continue
        score = f" · mean Dice {answer.scores[number].macro_dice:.2f}" if answer and answer.scores else ""
        uri = as_uri(mask_png(ids, palette), "image/png")
        image = f'<image class="mask" href="{uri}" {covering(tile.size)}/>{region_marks(ids, marks, tile.size)}'
        views.append(_figure(tile, f"{title}. {_composition(ids, names)}", f"{title}{score}", image))
    if tile.truth is not None:
        image = '<use class="mask" href="#truth-tile"/>'
        image += region_marks(tile.truth[::8, ::8], dict(enumerate(letters(clusters.class_names))), tile.size)
        said = f"Truth. {_composition(tile.truth, clusters.class_names)}"
        views.append(_figure(tile, said, "Truth, from the drawing program", image))
    note = f'<p class="small">{escape(tile.note)}</p>' if tile.note else ""
    state = "done" if answer else "waiting"
    dice = f"{answer.scores[1].macro_dice:.4f}" if answer and answer.scores else ""
    return (
        f'<section data-state="{state}" data-tile="{escape(tile.key)}" data-dice="{dice}">'
        f'<div class="four">{"".join(views)}</div>{note}{_said(session, dictionary)}'
        f"{_table(dictionary, answer, names, palette) if dictionary and answer else ''}</section>"
    )


def _figure(tile: Tile, label: str, caption: str, content: str) -> str:
    height, width = tile.size
    bar = scale_bar(tile.size, tile.mpp) if not content else ""
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f'<use href="#tissue-tile"/>{content}{bar}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _composition(ids: np.ndarray, names: Sequence[str]) -> str:
    shares = {names[name]: float((ids == name).mean()) for name in np.unique(ids)}
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))


def _said(session: Session, dictionary: PrototypeDictionary | None) -> str:
    if dictionary is None:
        return ""
    count = f"<b>{len(dictionary)}</b> {'prototype' if len(dictionary) == 1 else 'prototypes'}"
    if session.loaded is not None:
        return f"<p>Queried with the dictionary you loaded: {count}. Name a cluster to use your names again.</p>"
    return f"<p>Queried with your dictionary: {count}, the centres of the clusters you named.</p>"


def _table(dictionary: PrototypeDictionary, answer: Answer, names: Sequence[str], palette: Palette) -> str:
    """Per class: prototypes, share of the tile, and Dice if the truth is known. It is also the legend."""
    scored = answer.scores is not None
    columns = ["prototypes", "share by DQ", "share by CQ", *(["Dice of DQ", "Dice of CQ"] if scored else [])]
    head = "".join(f'<th scope="col">{column}</th>' for column in ("Class", *columns))
    rows = ""
    for name, (text, mark) in enumerate(zip(names, letters(names), strict=True)):
        cells = [str(int((dictionary.labels == name).sum()))]
        cells += [f"{(ids == name).mean():.0%}" for ids in (answer.direct, answer.grouped)]
        if answer.scores is not None:
            cells += [_dice(scores.dice[name]) for scores in answer.scores]
        values = "".join(f"<td>{cell}</td>" for cell in cells)
        label = f"{badge(mark, palette[name])} {escape(text)}"
        rows += f'<tr data-class="{escape(text)}"><th scope="row">{label}</th>{values}</tr>'
    if answer.scores is not None:
        direct, grouped = (scores.macro_dice for scores in answer.scores)
        rows += (
            f'<tr class="main"><th scope="row">mean</th><td>{len(dictionary)}</td><td></td><td></td>'
            f"<td>{_dice(direct)}</td><td>{_dice(grouped)}</td></tr>"
        )
    kind = "numbers scored" if scored else "numbers"
    label = 'aria-label="Classes of the dictionary, and how much of the tile is theirs"'
    return f'<table class="{kind}" {label}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _dice(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"
