"""Demos in the browser, one a method: the same ``encode`` and ``segment`` that the lessons derive.

A demo is a page (``click_points``, ``tag_patches``) and its handlers, over small modules that know no Gradio:

- both: ``uploads``, ``markup``, ``saving``, and ``style``, which serves them alone; ``app`` and ``serving``, together;
- clicking points: ``pictures``, ``samples``, ``clicks``, ``outline``, ``views``, ``exports``;
- ticking patches: ``patch_sets``, ``tag_log``, ``tag_session``, ``label_file``, ``tag_views``, ``tag_results``,
  ``tag_result_views``.

What one visitor did lives in that visitor's session alone.
"""

import os

# Read when PyTorch starts its threads, so before it is imported: a thread without work sleeps. A spinning one takes the
# core that another visitor's answer needs; on a busy machine that made a click several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
