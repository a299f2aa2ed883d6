"""Segment whole slides: slide any segmenter of tiles over a slide with overlap and average its probabilities.

Han et al., "Multi-Layer Pseudo-Supervision for Histopathology Tissue Semantic Segmentation using Patch-level
Classification Labels", 2021, Sect. III-B3: patches overlap by half or more; at every pixel the probabilities of each
class are averaged, and the class of the highest mean is taken.
"""

from histolab_lite.methods.whole_slide.inference import segment_slide

__all__ = ["segment_slide"]
