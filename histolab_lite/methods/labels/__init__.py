"""What a label buys: kinds of label side by side, on the same pictures, features and reader, by the time they take.

The methods are those of the five papers; annotators are simulated, and their time is priced as the papers measured it.
"""

from histolab_lite.methods.labels.budget import PRICES, Annotation, Price, annotate, cost_of_all
from histolab_lite.methods.labels.kinds import KINDS
from histolab_lite.methods.labels.pictures import Picture, read_pictures
from histolab_lite.methods.labels.reading import learn, read

__all__ = [
    "KINDS",
    "PRICES",
    "Annotation",
    "Picture",
    "Price",
    "annotate",
    "cost_of_all",
    "learn",
    "read",
    "read_pictures",
]
