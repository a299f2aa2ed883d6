"""The views of clusters on the page ``proto2seg``: patches, names to choose from, and the stopwatch.

Colour is never the only sign: each class has a letter, and a dropped cluster has a cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from demos.proto2seg.samples import MPP, PATCH, SHOWN, ZOOM, Clusters
from demos.proto2seg.session import Session
from demos.shared.colours import css_colour
from demos.shared.markup import as_uri
from histolab_lite.methods.proto2seg import MIXTURE

DROPPED = "✕"
PAPER = (  # Table 2: average seconds of three pathologists
    ("naming a cluster", 26, "30 clusters, 0.2 h in all"),
    ("tagging an image", 60 + 59, "2151 images, 71.1 h"),
    ("outlining an image", 8 * 60 + 50, "2151 images, 316.7 h"),
)


def letters(names: Sequence[str]) -> tuple[str, ...]:
    """A different letter for every class, if possible the first of a word. M is reserved for mixed clusters."""
    given: list[str] = []
    for name in names:
        words = name.upper().split()
        wanted = [*(word[0] for word in words), *"".join(words), *"ABCDEFGHIJKLNOPQRSTUVWXYZ"]
        given.append(next(letter for letter in wanted if letter.isalpha() and letter not in (*given, "M")))
    return tuple(given)


def gallery(session: Session) -> str:
    """The central patches of the cluster in view, and a hint to open."""
    clusters, at = session.clusters, session.at
    assert clusters is not None
    side = ZOOM * PATCH
    number = int((clusters.labels == at).sum())
    uri = as_uri(clusters.sheets[at], "image/jpeg")
    sheet = f'<image id="sheet" href="{uri}" width="{SHOWN * side}" height="{side}"/>'
    patches = "".join(
        f'<svg viewBox="{i * side} 0 {side} {side}" aria-hidden="true"><use href="#sheet"/></svg>' for i in range(SHOWN)
    )
    label = f"The {SHOWN} patches nearest to the centre of cluster {at + 1}"
    note = f"Each is {PATCH * MPP:.0f} µm wide; the nearest comes first."
    title = f"Cluster {at + 1}: the {SHOWN} patches nearest to its centre, of {number}"
    return (
        f'<svg class="sheet" width="0" height="0" aria-hidden="true"><defs>{sheet}</defs></svg>'
        f'<div class="above"><p class="title">{title}</p><p class="small">{note}</p>{_hint(clusters, at)}</div>'
        f'<div class="patches" role="img" aria-label="{label}" data-cluster="{at}">{patches}</div>'
    )


def _hint(clusters: Clusters, at: int) -> str:
    """The true classes of the pixels shown."""
    shares = clusters.fractions[at]
    order = [name for name in np.argsort(-shares) if shares[name] >= 0.005]
    text = ", ".join(f"{clusters.class_names[name]} {shares[name]:.0%}" for name in order)
    rule = (
        "above 80 %, so the paper would name it"
        if shares.max() > 0.8
        else "none above 80 %, so the paper would drop it"
    )
    return f"<details><summary>Hint</summary><p>The drawing program knows: {escape(text)} ({rule}).</p></details>"


def panel(session: Session) -> str:
    """Classes to choose from, undo and next, progress, and all clusters to go to."""
    clusters, at, given = session.clusters, session.at, session.names.given
    assert clusters is not None
    marks = letters(clusters.class_names)
    buttons = "".join(
        _choice(session, name, str(name + 1), marks[name], text) for name, text in enumerate(clusters.class_names)
    )
    buttons += _choice(session, MIXTURE, "0", DROPPED, "mixed: drop")
    places = "".join(_place(session, cluster, given.get(cluster), marks) for cluster in range(len(clusters)))
    idle = "true" if not session.names.before else "false"
    return (
        f'<div data-serial="{session.serial}" data-set="{clusters.key}" data-at="{at}" '
        f'data-say="{escape(_said(session))}">'
        f'<div class="classes" role="group" aria-label="What does cluster {at + 1} show?">{buttons}</div>'
        '<div class="onward"><div class="steps">'
        f'<button type="button" data-do="undo" data-id="undo" aria-disabled="{idle}" aria-keyshortcuts="Backspace">'
        "Undo <kbd>Backspace</kbd></button>"
        '<button type="button" class="next-patch" data-do="next" data-id="next" aria-keyshortcuts="Space ArrowRight">'
        "Next cluster <kbd>Space</kbd></button></div>"
        f"<div>{_progress(session)}</div></div>"
        f'<div class="places" role="group" aria-label="Go to a cluster">{places}</div></div>'
    )


def _choice(session: Session, name: int, key: str, letter: str, text: str) -> str:
    pressed = str(session.names.given.get(session.at) == name).lower()
    return (
        f'<button type="button" data-do="name" data-value="{name}" data-id="name-{name}" aria-pressed="{pressed}" '
        f'aria-keyshortcuts="{key}"><kbd>{key}</kbd>{_badge(session, name, letter)}<span>{escape(text)}</span></button>'
    )


def _badge(session: Session, name: int, letter: str) -> str:
    assert session.clusters is not None
    return badge(letter, session.clusters.palette[name] if name != MIXTURE else (255, 255, 255))


def badge(letter: str, colour: tuple[int, int, int]) -> str:
    """A letter on the colour of its class."""
    style = f"background:{css_colour(colour)};color:{ink(colour)}"
    return f'<span class="badge" style="{style}" aria-hidden="true">{letter}</span>'


def ink(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever has more contrast with a colour (WCAG's relative luminance)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return "#000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#fff"


def _place(session: Session, cluster: int, name: int | None, marks: Sequence[str]) -> str:
    letter = "" if name is None else DROPPED if name == MIXTURE else marks[name]
    shown = "" if name is None else _badge(session, name, letter)
    current = 'aria-current="true"' if cluster == session.at else ""
    return (
        f'<button type="button" data-do="go" data-index="{cluster}" data-id="go-{cluster}" {current} '
        f'aria-label="Cluster {cluster + 1}, {escape(called(session, cluster))}">{cluster + 1}{shown}</button>'
    )


def called(session: Session, cluster: int) -> str:
    """The name of a cluster, in words."""
    assert session.clusters is not None
    name = session.names.given.get(cluster)
    return "no name yet" if name is None else "dropped" if name == MIXTURE else session.clusters.class_names[name]


def _counts(session: Session) -> tuple[int, int, int]:
    """How many clusters are named, are dropped, and exist."""
    assert session.clusters is not None
    dropped = sum(name == MIXTURE for name in session.names.given.values())
    return len(session.names.given) - dropped, dropped, len(session.clusters)


def _progress(session: Session) -> str:
    named, dropped, number = _counts(session)
    spent, done = session.names.seconds.get(session.at, 0.0), named + dropped
    return (
        f'<p class="progress" data-named="{named}" data-dropped="{dropped}">Cluster <b>{session.at + 1}</b> '
        f"of {number} · {named} named, {dropped} dropped · this one "
        f'<span class="running" data-spent="{spent}" aria-hidden="true">{spent:.0f} s</span></p>'
        f'<div class="bar" role="progressbar" aria-label="Clusters named or dropped" aria-valuemin="0" '
        f'aria-valuemax="{number}" aria-valuenow="{done}"><span style="width:{done / number:.2%}"></span></div>'
    )


def _said(session: Session) -> str:
    """What a screen reader says after every change."""
    named, dropped, number = _counts(session)
    return (
        f"Cluster {session.at + 1} of {number}: {called(session, session.at)}. "
        f"{named} named, {dropped} dropped."
    )  # fmt: skip


def stopwatch(session: Session) -> str:
    """The visitor's time per cluster beside the times in the paper's Table 2."""
    own, number = session.names.mean_seconds, len(session.names.given)
    assert session.clusters is not None
    every = len(session.clusters)
    if own is None:
        rows = '<li class="main">Your own time appears with the first name.</li>'
    else:
        of = f"mean of {number}; all {every} take {_time(own * every)} at this pace"
        rows = _pace("You, naming a cluster", own, of, "main")
    rows += "".join(_pace(f"Paper, {what}", seconds, of) for what, seconds, of in PAPER)
    return (
        f'<p class="title">Stopwatch</p><ul class="paces" data-own="{own or 0:.2f}">{rows}</ul>'
        '<p class="small">Paper: Table 2, mean of three pathologists on real breast tissue, images of 1024 × 1024 '
        "pixels. Your patches are drawn, so compare orders of magnitude only. A pause counts as one minute at most.</p>"
    )


def _pace(what: str, seconds: float, of: str, kind: str = "") -> str:
    share = min(seconds / PAPER[-1][1], 1)
    return (
        f'<li class="{kind}"><span>{escape(what)}</span> <b>{_time(seconds)}</b>'
        f'<span class="pace" aria-hidden="true"><span style="width:{share:.1%}"></span></span>'
        f'<span class="small">{escape(of)}</span></li>'
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
