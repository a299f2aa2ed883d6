"""The page's answer to "Show me": patch, pseudo mask, segmentation and truth side by side, with scores.

No class is told by its colour alone: each region also bears its class's key on the keyboard, and 0 for glass.
"""

from __future__ import annotations

from html import escape

import numpy as np

from demos.mlps.log import Log
from demos.mlps.results import Answers, Comparison
from demos.shared.colours import css_colour
from demos.shared.markup import as_uri, region_marks
from histolab_lite.formats.masks import mask_png
from histolab_lite.methods.mlps.pretrained import LEAST, MPP, PALETTE, TISSUES

# Table V: minutes per 100 patches of three pathologists.
TAGGING, DRAWING = (6.8, 5.2, 7.0), (177.5, 209.3, 231.6)
NAMES = (*TISSUES, "glass")


def results(answers: Answers, found: Comparison, log: Log) -> str:
    agree = found.tags == answers.tags[found.patches].astype(bool)
    cards = "".join(_card(answers, found, row) for row in range(len(found.patches)))
    return (
        f'<section data-agree="{agree.mean():.4f}"><h2 tabindex="-1">Masks from your tags</h2>'
        f"<p>Of your {agree.size} tags, ✓ or ✗, on {_count(len(found.patches), 'patch', 'patches')}, "
        f"<b>{agree.sum()}</b> ({agree.mean():.0%}) agree with the truth. A tissue counts as there if it covers "
        f'{LEAST:.0%} of the patch or more. <a href="#patch">Go on tagging</a></p>'
        f'<div class="tables">{_scores(found)}{_times(log)}</div>{_legend()}<div class="cards">{cards}</div></section>'
    )


def _card(answers: Answers, found: Comparison, row: int) -> str:
    patch, patches = found.patches[row], answers.patches
    assert patches.truth is not None
    truth, size = patches.truth[patch], patches.truth.shape[1]
    agree = found.tags[row] == answers.tags[patch].astype(bool)
    uri = as_uri(patches.jpegs[patch], "image/jpeg")
    tissue = f'<image id="patch-{patch}" href="{uri}" width="{size}" height="{size}"/>'
    caption = f"<figcaption>Patch, {size * MPP:.0f} µm wide</figcaption>"
    views = [f"<figure>{_svg(size, f'Patch {patch + 1}', tissue)}{caption}</figure>"]
    stages = (
        ("Pseudo mask, your tags", found.pseudo_masks[row]),
        ("Segmentation, gated", answers.segmented[patch]),
        ("Truth", truth),
    )
    for title, mask in stages:
        if mask is None:
            views.append('<figure class="none"><p>No tissue tagged, so there is no pseudo mask.</p></figure>')
            continue
        share = "" if mask is truth else f" · {(mask == truth).mean():.0%} correct"
        said = f"{title} of patch {patch + 1}: {_composition(mask)}"
        views.append(
            f"<figure>{_svg(size, said, _overlay(mask, patch))}<figcaption>{title}{share}</figcaption></figure>"
        )
    return (
        f'<article data-patch="{patch}" data-agree="{agree.sum()}"><h3>Patch {patch + 1}</h3>'
        f"<p>{_verdict(found.tags[row], answers.tags[patch].astype(bool), answers.shares[patch])}</p>"
        f'<div class="four">{"".join(views)}</div></article>'
    )


def _verdict(tags: np.ndarray, true: np.ndarray, shares: np.ndarray) -> str:
    """The number of a patch's tags that agree with the truth, and those that do not."""
    right = int((tags == true).sum())
    text = f"<b>{right} of {len(TISSUES)}</b> tags agree with the truth."
    missed = [f"{TISSUES[k]} ({shares[k]:.0%} of the patch)" for k in np.flatnonzero(true & ~tags)]
    extra = [TISSUES[k] for k in np.flatnonzero(tags & ~true)]
    if missed:
        text += f" Missed: {escape(', '.join(missed))}."
    if extra:
        text += f" Tagged, but not there: {escape(', '.join(extra))}."
    return text


def _svg(size: int, label: str, content: str) -> str:
    return f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _overlay(mask: np.ndarray, patch: int) -> str:
    """The patch, its classes in colour over it, and each class's number in its largest region."""
    size = len(mask)
    labels = region_marks(mask, {k: str(_number(k)) for k in range(len(NAMES))}, (size, size))
    return (
        f'<use href="#patch-{patch}"/><image class="mask" href="{as_uri(mask_png(mask, PALETTE), "image/png")}" '
        f'width="{size}" height="{size}"/>{labels}'
    )


def _number(k: int) -> int:
    """A tissue's key on the keyboard, 0 for glass."""
    return (int(k) + 1) % len(NAMES)


def _composition(mask: np.ndarray) -> str:
    shares = {NAMES[k]: float((mask == k).mean()) for k in np.unique(mask)}
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))


def _legend() -> str:
    keys = "".join(
        f'<li><span class="swatch" style="background:{css_colour(colour)}"></span><kbd>{_number(k)}</kbd> '
        f"{escape(name)}</li>"
        for k, (name, colour) in enumerate(zip(NAMES, PALETTE, strict=True))
    )
    return f'<ul class="legend" aria-label="Colours and numbers of the classes">{keys}</ul>'


def _scores(found: Comparison) -> str:
    """Accuracy and mean IoU over the patches with tags."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{scores.accuracy:.1%}</td><td>{scores.mean_iou:.1%}</td></tr>'
        for name, scores in found.scores.items()
    )
    if not rows:
        return ""
    head = (
        '<tr><th scope="col">Beside the truth</th><th scope="col">correct pixels</th><th scope="col">mean IoU</th></tr>'
    )
    return f'<table class="numbers"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _times(log: Log) -> str:
    """The visitor's time per patch beside Table V of the paper."""
    own, done = log.median_seconds, len(log.done)
    rows = ""
    if own is not None:
        counted = f"You, tags (median of {_count(done, 'patch', 'patches')})"
        rows = _time(counted, f"{own:.1f} s", f"{own * 100 / 60:.1f} min", "main")
    rows += _time("3 pathologists, tags", _range(TAGGING, 0.6, "s"), _range(TAGGING, 1, "min"))
    rows += _time("3 pathologists, outlines", _range(DRAWING, 0.6, "s"), _range(DRAWING, 1, "min"))
    head = '<tr><th scope="col">Time</th><th scope="col">per patch</th><th scope="col">100 patches</th></tr>'
    note = (
        "Pathologists: Table V of the paper, 100 real patches of lung carcinoma, four classes, mean. Your patches are "
        "phantom tissue of five classes, so compare the order of magnitude only."
    )
    return (
        f'<div><table class="numbers"><thead>{head}</thead><tbody>{rows}</tbody></table>'
        f'<p class="small">{note}</p></div>'
    )


def _time(name: str, patch: str, hundred: str, kind: str = "") -> str:
    return f'<tr class="{kind}"><th scope="row">{escape(name)}</th><td>{patch}</td><td>{hundred}</td></tr>'


def _range(minutes: tuple[float, ...], factor: float, unit: str) -> str:
    """The range of times, in minutes per 100 patches. factor: 0.6 turns them into seconds per patch."""
    low, high = min(minutes) * factor, max(minutes) * factor
    digits = 1 if high < 20 else 0
    return f"{low:.{digits}f}–{high:.{digits}f} {unit}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
