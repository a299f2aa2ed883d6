"""What several tests of the page share."""

import numpy as np
import pytest


@pytest.fixture
def no_umap(monkeypatch):
    """Slides are prepared without their map and colours, which take half a minute."""
    from demos.sic import slides

    def look(table):
        yield slides.Progress("Looking", 0.9)
        return np.zeros((len(table), 2), np.float32), np.zeros((len(table), 3), np.uint8)

    monkeypatch.setattr(slides, "look", look)
