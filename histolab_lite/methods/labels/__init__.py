"""What a label buys: kinds of label compared on the same images, features and linear probe, by the time they take.

The methods are those of the five papers. Annotators are simulated; the papers say how long a person takes.
"""

from histolab_lite.methods.labels.budget import PRICES, Annotation, Price, annotate, cost_of_all
from histolab_lite.methods.labels.images import EncodedImage, read_images
from histolab_lite.methods.labels.kinds import KINDS
from histolab_lite.methods.labels.linear_probe import fit_linear_probe, predict

__all__ = [
    "KINDS",
    "PRICES",
    "Annotation",
    "EncodedImage",
    "Price",
    "annotate",
    "cost_of_all",
    "fit_linear_probe",
    "predict",
    "read_images",
]
