"""The plane of ``proto2seg``: all patches in two dimensions by UMAP, coloured by the names of their clusters.

McInnes, Healy and Melville, "UMAP", 2018. The dots are sent once, as ``<path id="dots-3">``,
and the view refers to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from demos.proto2seg.samples import Clusters
from demos.proto2seg.session import Session
from demos.proto2seg.views import DROPPED, called, ink, letters
from demos.shared.colours import css_colour
from demos.shared.markup import unseen
from histolab_lite.methods.proto2seg import MIXTURE

UNNAMED = "#a3acba"


def plane_dots(clusters: Clusters) -> str:
    """The dots of every cluster, which the view refers to."""
    points = clusters.points * 100
    paths = ""
    for cluster in range(len(clusters)):
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points[clusters.labels == cluster])
        paths += f'<path id="dots-{cluster}" d="{dots}"/>'
    return unseen(paths)


def plane(session: Session) -> str:
    """All patches: named clusters in the colour of their class, the cluster in view outlined."""
    clusters, given = session.clusters, session.names.given
    assert clusters is not None
    marks = letters(clusters.class_names)
    order = sorted(range(len(clusters)), key=lambda cluster: (cluster == session.at, cluster in given))
    dots = "".join(_dots(clusters, cluster, given.get(cluster), cluster == session.at) for cluster in order)
    texts = "".join(_mark(clusters, cluster, given.get(cluster), marks, cluster == session.at) for cluster in order)
    height = clusters.points[:, 1].max() * 100 + 6
    label = (
        f"Map of {len(clusters.labels)} patches, similar ones near each other. Cluster {session.at + 1} is outlined: "
        f"{called(session, session.at)}."
    )
    return (
        '<p class="title">All patches (UMAP)</p>'
        f'<svg class="plane" viewBox="-3 -3 106 {height:.1f}" role="img" aria-label="{escape(label)}" '
        f'data-at="{session.at}"><rect x="-3" y="-3" width="106" height="{height:.1f}" fill="#fff"/>{dots}{texts}</svg>'
        f'<p class="small">Outlined: the cluster in view. Letters: your names; {DROPPED}: dropped. Click dots to go to '
        "their cluster.</p>"
    )


def _dots(clusters: Clusters, cluster: int, name: int | None, current: bool) -> str:
    named = name is not None and name != MIXTURE
    colour = UNNAMED if name is None else "#fff" if name == MIXTURE else css_colour(clusters.palette[name])
    width = 2.0 if current else 1.4 if named else 1.1
    use = f'<use href="#dots-{cluster}" stroke-linecap="round"'
    edge = ""
    if current:
        edge = f'{use} stroke="#000" stroke-width="{width + 1.2}"/>'
    elif name is not None:
        edge = f'{use} stroke="#4b5563" stroke-width="{width + 0.35}"/>'
    dots = f'{edge}{use} stroke="{colour}" stroke-width="{width}"/>'
    return f'<g data-go="{cluster}"><title>Cluster {cluster + 1}</title>{dots}</g>'


def _mark(clusters: Clusters, cluster: int, name: int | None, marks: Sequence[str], current: bool) -> str:
    """A letter or a cross on the middle dot of a cluster; its number if it has no name yet."""
    if name is None and not current:
        return ""
    points = clusters.points[clusters.labels == cluster] * 100
    x, y = points[np.square(points - np.median(points, 0)).sum(1).argmin()]
    text = str(cluster + 1) if name is None else DROPPED if name == MIXTURE else marks[name]
    colour = (255, 255, 255) if name is None or name == MIXTURE else clusters.palette[name]
    radius = 4.2 if current else 3.3
    return (
        f'<g data-go="{cluster}"><circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{css_colour(colour)}" '
        f'stroke="#000" stroke-width="{0.8 if current else 0.3}"/><text x="{x:.1f}" y="{y + radius * 0.42:.1f}" '
        f'text-anchor="middle" font-size="{radius * 1.2:.1f}" font-weight="700" fill="{ink(colour)}">{text}</text></g>'
    )
