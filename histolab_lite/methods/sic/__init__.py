"""SIC: a few clicked patches divide a whole slide, by clustering embeddings that are computed once.

Chelebian, Ciompi and Wählby, "Seeded iterative clustering for histology region identification", 2022.
"""

from histolab_lite.methods.sic.clicks import best_and_mean, patch_f1, simulate_seeds, suggest
from histolab_lite.methods.sic.clustering import Decision, Step, best, f1_on_seeds, iterate, segment
from histolab_lite.methods.sic.colours import paint, umap_colours
from histolab_lite.methods.sic.representation import prepare, smooth

__all__ = [
    "Decision",
    "Step",
    "best",
    "best_and_mean",
    "f1_on_seeds",
    "iterate",
    "paint",
    "patch_f1",
    "prepare",
    "segment",
    "simulate_seeds",
    "smooth",
    "suggest",
    "umap_colours",
]
