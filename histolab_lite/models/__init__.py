"""Networks: the encoder, segmentation networks, and their weights on disk."""

from histolab_lite.models.encoder import Encoder, load_encoder

__all__ = ["Encoder", "load_encoder"]
