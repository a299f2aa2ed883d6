"""What the tests of several modules share."""

import hashlib
from typing import Any

import numpy as np

from histolab_lite.data.manifests import Manifest

PAYLOAD = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()

#: The keys that every manifest must have.
REQUIRED: dict[str, Any] = {
    "name": "toy",
    "title": "Toy set",
    "version": "1",
    "homepage": "https://example.org/toy",
    "licence": "CC0",
    "redistribution": True,
    "citation": "Nobody",
    "access": "download",
    "split_rule": "none",
}


def toy_manifest(**changes: Any) -> Manifest:
    return Manifest(**REQUIRED | changes)
