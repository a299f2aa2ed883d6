"""Demos in the browser, one per method: the same ``encode`` and ``segment`` that the lessons derive.

Each page has a folder, named after its method: ``page`` lays it out, ``handlers`` answer what happens on it, and small
modules that know no Gradio do the rest.

    cvm        click points
    proto2seg  name clusters
    mlps       tag patches
    sic        drop seeds; its viewer is in vendor

``shared`` is what several pages use. ``app`` puts the pages under one roof, ``serving`` serves them behind the gate of
``doors``, ``bundle`` holds what they show at first, and ``space`` writes what hosting them takes.

What one visitor did lives in that visitor's session alone.
"""

import os

# Read when PyTorch starts its threads, so before it is imported: a thread without work sleeps. A spinning one takes the
# core that another visitor's answer needs; on a busy machine that made a click several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
