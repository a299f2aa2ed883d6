"""Tissue in: slides, tiles and patches with their masks."""

#: The class id of pixels that count for nothing.
IGNORE = 255
