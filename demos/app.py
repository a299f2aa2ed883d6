"""All demos on one server: one page per method, and a bar of links between them.

    python -m demos [--host 127.0.0.1] [--port 7860]

Every page has its own address, such as /mlps/. ``serving`` lists the environment variables.
"""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from demos.cvm import page as cvm
from demos.mlps import page as mlps
from demos.mlps.patch_sets import sample_set
from demos.proto2seg import page as proto2seg
from demos.serving import Host, Port, is_loopback, serve
from demos.shared import lessons
from demos.shared.markup import bar
from demos.sic import page as sic


class About(NamedTuple):
    """title: shown in the bar. lesson: the one that derives the method. paper: its address."""

    title: str
    lesson: str
    paper: str


#: The pages, by their name in the address.
PAGES = {
    "cvm": About("Click points · CVM", "07_contrast_variational_model", "https://doi.org/10.1109/CVPR52729.2023.01500"),
    "proto2seg": About(
        "Name clusters · Proto2Seg", "03_direct_vs_cluster_query", "https://doi.org/10.1007/978-3-031-34048-2_52"
    ),
    "mlps": About("Tag patches · MLPS", "06_multi_layer_pseudo_supervision", "https://arxiv.org/abs/2110.08048"),
    "sic": About(
        "Drop seeds · SIC",
        "08_seeded_iterative_clustering",
        "https://arxiv.org/search/?searchtype=title&query=Seeded+iterative+clustering+for+histology+region+identification",
    ),
}


def build(public: bool) -> dict[str, gr.Blocks]:
    """Build the pages, by name. public: see ``cvm.samples``."""
    return {
        "cvm": cvm.build(public, nav("cvm")),
        "proto2seg": proto2seg.build(nav=nav("proto2seg")),
        "mlps": mlps.build(sample_set(), nav=nav("mlps")),
        "sic": sic.build(public, nav("sic")),
    }


def nav(here: str) -> str:
    """The bar of links at the top of a page."""
    about = PAGES[here]
    more = {f"Lesson {about.lesson[:2]}": f"../lessons/{about.lesson}", "Paper": about.paper}
    return bar({name: page.title for name, page in PAGES.items()}, here, more)


def main(host: Host = "127.0.0.1", port: Port = None) -> None:
    """Serve all pages until Ctrl-C."""
    routers = [lessons.router(), sic.router()]
    serve(lambda: build(public=not is_loopback(host)), host, port, routers, slides=["sic"])
