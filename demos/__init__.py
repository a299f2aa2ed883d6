"""Demos in the browser, one a method: the same ``encode`` and ``segment`` that the lessons derive.

A demo is a page and its handlers, over small modules that know no Gradio:

- all: ``app``, ``serving``, ``style``, ``markup``, ``uploads``, ``saving``, ``panel``, ``warming``, ``lessons``;
  ``bundle`` holds what pages show at first; ``space`` writes what hosting them takes;
- ``click_points``: ``click_handlers``, ``clicks``, ``pictures``, ``samples``, ``outline``, ``views``, ``exports``;
- ``label_clusters``: what begins with ``cluster_``;
- ``tag_patches``: what begins with ``tag_``, and ``patch_sets``, ``label_file``;
- ``seed_slide``: what begins with ``seed_``, and ``vendor``, the viewer.

What one visitor did lives in that visitor's session alone.
"""

import os

# Read when PyTorch starts its threads, so before it is imported: a thread without work sleeps. A spinning one takes the
# core that another visitor's answer needs; on a busy machine that made a click several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
