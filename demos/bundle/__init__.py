"""What the pages show before anyone uploads anything, made beforehand, so that a server starts within seconds.

``python -m demos.bundle`` makes it all again, from seeds; nothing here is anyone's tissue.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
