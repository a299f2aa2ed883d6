"""What the pages show before anyone uploads an image, made in advance, so that a server starts within seconds.

``python -m demos.bundle`` makes all of it again, from random seeds. Nothing here is real tissue.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
