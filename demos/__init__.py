"""Demos in the browser, one a method: the same ``encode`` and ``segment`` that the lessons derive.

A demo is a page, here, and its parts, in a folder of their own: handlers, which are called by what happens on the page,
and small modules that know no Gradio.

    click_points    clicking
    label_clusters  naming
    tag_patches     ticking
    seed_slide      seeding, and vendor, the viewer

``app`` puts them under one roof, ``serving`` serves them behind the gate of ``doors``, ``bundle`` holds what they show
at first, and ``space`` writes what hosting them takes. The rest is what several pages use.

What one visitor did lives in that visitor's session alone.
"""

import os

# Read when PyTorch starts its threads, so before it is imported: a thread without work sleeps. A spinning one takes the
# core that another visitor's answer needs; on a busy machine that made a click several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
