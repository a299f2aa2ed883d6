"""MLPS: tags of patches become masks, by dropout attention and pseudo masks from several layers.

Han, Lin, Mai et al., "Multi-layer pseudo-supervision for histopathology tissue semantic segmentation using
patch-level classification labels", Medical Image Analysis 2022.
"""

from histolab_lite.methods.mlps.activation import LAYERS, activation_maps
from histolab_lite.methods.mlps.attention import PROGRESSIVE, DropoutCoefficient, constant
from histolab_lite.methods.mlps.classification import Classifier, classify, train_classifier
from histolab_lite.methods.mlps.inference import gate, predict
from histolab_lite.methods.mlps.masks import pseudo_masks
from histolab_lite.methods.mlps.segmentation import WEIGHTS, DeepLab, multi_layer_loss, train_segmenter
from histolab_lite.methods.mlps.tags import tagged_patches, tags_of_masks, tags_of_name

__all__ = [
    "LAYERS",
    "PROGRESSIVE",
    "WEIGHTS",
    "Classifier",
    "DeepLab",
    "DropoutCoefficient",
    "activation_maps",
    "classify",
    "constant",
    "gate",
    "multi_layer_loss",
    "predict",
    "pseudo_masks",
    "tagged_patches",
    "tags_of_masks",
    "tags_of_name",
    "train_classifier",
    "train_segmenter",
]
