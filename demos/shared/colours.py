"""Colours that colour-blind people tell apart, and shapes with them: colour is never alone.

Okabe and Ito, "Color universal design", 2008. Class 0 is outside, 1 to 3 are tissues.
"""

PALETTE = ((213, 94, 0), (240, 228, 66), (86, 180, 233), (0, 158, 115))
SYMBOLS = ("✕", "●", "■", "▲")
UNSURE = (128, 128, 128)


def css_colour(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
