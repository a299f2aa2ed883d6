"""histolab-lite: label-efficient segmentation of H&E tissue, taught in executed notebooks."""

__version__ = "0.1.0"
