"""CVM: outline a target from a few clicked points, by contrast maps and a convex variational model.

Zhang, Burrows, Meng et al., "Weakly supervised segmentation with point annotations for histopathology images via
contrast-based variational model", CVPR 2023.
"""

from histolab_lite.methods.cvm.features import encode
from histolab_lite.methods.cvm.points import Points, point_mask, simulate_points, to_grid
from histolab_lite.methods.cvm.segmentation import ClassScores, segment, segment_classes, upsample

__all__ = [
    "ClassScores",
    "Points",
    "encode",
    "point_mask",
    "segment",
    "segment_classes",
    "simulate_points",
    "to_grid",
    "upsample",
]
