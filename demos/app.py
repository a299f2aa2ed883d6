"""The demos under one roof: a page each, a bar of links between them, one server.

    python -m demos [--host 127.0.0.1] [--port 7860]

Every page has an address to share, such as /tag-patches/; ``serving`` says what the environment can set.
"""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr
import typer

from demos import click_points, label_clusters, lessons, seed_slide, tag_patches
from demos.markup import bar
from demos.serving import Host, Port, is_loopback, serve
from demos.ticking.patch_sets import sample_set


class About(NamedTuple):
    """title: in the bar. lesson: which derives the method. paper: its address."""

    title: str
    lesson: str
    paper: str


#: By name in the address.
PAGES = {
    "click-points": About(
        "Click points", "07_contrast_variational_model", "https://doi.org/10.1109/CVPR52729.2023.01500"
    ),
    "label-clusters": About(
        "Name clusters", "03_direct_vs_cluster_query", "https://doi.org/10.1007/978-3-031-34048-2_52"
    ),
    "tag-patches": About("Tick patches", "06_multi_layer_pseudo_supervision", "https://arxiv.org/abs/2110.08048"),
    "seed-slide": About(
        "Drop seeds",
        "08_seeded_iterative_clustering",
        "https://arxiv.org/search/?searchtype=title&query=Seeded+iterative+clustering+for+histology+region+identification",
    ),
}


def build(public: bool) -> dict[str, gr.Blocks]:
    """The pages by name. public: see ``clicking.samples``."""
    return {
        "click-points": click_points.build(public, nav("click-points")),
        "label-clusters": label_clusters.build(nav=nav("label-clusters")),
        "tag-patches": tag_patches.build(sample_set(), nav=nav("tag-patches")),
        "seed-slide": seed_slide.build(public, nav("seed-slide")),
    }


def nav(here: str) -> str:
    """The bar on top of a page."""
    about = PAGES[here]
    more = {f"Lesson {about.lesson[:2]}": f"../lessons/{about.lesson}", "Paper": about.paper}
    return bar({name: page.title for name, page in PAGES.items()}, here, more)


def main(host: Host = "127.0.0.1", port: Port = None) -> None:
    """Serve all pages until Ctrl-C."""
    routers = [lessons.router(), seed_slide.router()]
    serve(lambda: build(public=not is_loopback(host)), host, port, routers, slides=["seed-slide"])


if __name__ == "__main__":
    typer.run(main)
