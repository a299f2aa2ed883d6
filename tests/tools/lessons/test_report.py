"""The image of a lesson on the page of a run."""

import base64
import io

from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tools.lessons import report


def cell(colour, *tags):
    """A code cell that shows an image of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    shown = new_output("display_data", data={"image/png": base64.b64encode(file.getvalue()).decode()})
    return new_code_cell("show()", metadata={"tags": list(tags)}, outputs=[shown])


def test_a_thumbnail_is_the_tagged_image_or_the_last():
    for channel, tags in enumerate((["thumbnail"], [])):
        kind, _, data = report.thumbnail(new_notebook(cells=[cell("red", *tags), cell("lime")])).partition(",")
        assert kind == "data:image/webp;base64"
        colour = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((4, 4))
        assert colour[channel] > 200
        assert colour[1 - channel] < 50
    assert report.thumbnail(new_notebook(cells=[new_code_cell("1")])) is None
