"""Colours that colour-blind people can tell apart, each with a shape, so that colour is never the only sign.

Okabe and Ito, "Color universal design", 2008. Class 0 is outside, 1 to 3 are tissues.
"""

PALETTE = ((213, 94, 0), (240, 228, 66), (86, 180, 233), (0, 158, 115))
SYMBOLS = ("✕", "●", "■", "▲")
UNSURE = (128, 128, 128)


def css_colour(rgb: tuple[int, int, int]) -> str:
    """The colour as CSS and SVG write it, such as #d55e00."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
