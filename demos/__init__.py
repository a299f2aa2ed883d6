"""Demos in the browser, one per method: the same ``encode`` and ``segment`` that the lessons derive.

Each page has a folder, named after its method: ``page`` is the layout, ``handlers`` answer its events, and small
modules without Gradio do the rest.

    cvm        click points
    proto2seg  name clusters
    mlps       tag patches
    sic        drop seeds; the slide viewer is in vendor

``shared`` holds what several pages use. ``app`` joins the pages, ``serving`` serves them behind the gate of ``doors``,
``bundle`` holds the images they show at first, and ``space`` writes the files for a host.

The work of a visitor is kept in that visitor's session alone.
"""

import os

# PyTorch reads these when it is imported: a thread without work then sleeps. A thread that spins takes the core that
# another visitor's answer needs; on a busy machine that made a click several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
