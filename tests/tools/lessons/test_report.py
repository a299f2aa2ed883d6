"""The picture of a lesson on the page of a run."""

from __future__ import annotations

import base64
import io
from typing import Any

from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tools.lessons import report


def png(colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(colour: str, *tags: str) -> Any:
    shown = new_output("display_data", data={"image/png": png(colour)})
    return new_code_cell("show()", metadata={"tags": list(tags)}, outputs=[shown])


def test_thumbnail_is_the_tagged_picture_or_the_last() -> None:
    def colour(*cells: Any) -> tuple[int, ...]:
        uri = report.thumbnail(new_notebook(cells=list(cells)))
        assert uri is not None
        kind, _, data = uri.partition(",")
        assert kind == "data:image/webp;base64"
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((4, 4))

    assert colour(picture("red"), picture("blue"))[2] > 200
    assert colour(picture("red", "thumbnail"), picture("blue"))[0] > 200
    assert report.thumbnail(new_notebook(cells=[new_code_cell("1")])) is None
