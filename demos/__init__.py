"""Demos in the browser, one a method: the same ``encode`` and ``segment`` that the lessons derive.

A demo is a page (``click_points.py``) over small modules that know no Gradio: ``pictures``, ``samples``, ``uploads``,
``clicks``, ``outline``, ``views``, ``exports``. What one visitor did lives in that visitor's session alone.
"""

import os

# Read when PyTorch starts its threads, so before it is imported: a thread without work sleeps. A spinning one takes the
# core that another visitor's answer needs; on a busy machine that made a click several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
