"""Whole slides: any segmenter of tiles, slid over a slide with overlap, its probabilities averaged.

Han et al., "Multi-Layer Pseudo-Supervision for Histopathology Tissue Semantic Segmentation using Patch-level
Classification Labels", 2021, Sect. III-B3: patches that overlap by half or more, at every pixel the mean of the
probabilities of each class, then the argmax.
"""

from histolab_lite.methods.whole_slide.inference import segment_slide

__all__ = ["segment_slide"]
