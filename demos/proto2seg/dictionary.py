"""A dictionary as a file: saved for a visitor, and read from a visitor, who may send a hostile file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from demos.proto2seg.samples import Clusters
from demos.shared.class_names import LONGEST_NAME, MOST_CLASSES
from demos.shared.uploads import UploadError, read_file
from histolab_lite.methods.proto2seg import PrototypeDictionary

LARGEST_FILE = 4 * 10**6  # bytes
MOST_PROTOTYPES = 1000
NOT_ONE = "This file is not a dictionary that can be read here. Load a .safetensors file that this page has saved."


class DictionaryError(ValueError):
    """A file that cannot be used. The message is for the visitor."""


def to_bytes(dictionary: PrototypeDictionary) -> bytes:
    """The dictionary as a safetensors file."""
    with tempfile.TemporaryDirectory() as folder:
        return dictionary.save(Path(folder) / "dictionary.safetensors").read_bytes()


def read_dictionary(path: str | Path, dimensions: int) -> PrototypeDictionary:
    """Read and delete a visitor's file. dimensions: of the encoder. DictionaryError says why it cannot be used."""
    named = Path(path).suffix.lower() == ".safetensors"
    try:
        content = read_file(path, LARGEST_FILE, forget=True)
        if not named:
            raise DictionaryError(NOT_ONE)
        with tempfile.TemporaryDirectory() as folder:  # not under the visitor's file name
            copy = Path(folder) / "dictionary.safetensors"
            copy.write_bytes(content)
            dictionary = PrototypeDictionary.load(copy)
    except UploadError as error:
        raise DictionaryError(str(error)) from None
    except OSError:
        raise DictionaryError("The server has no room for this file just now. Load it again later.") from None
    except DictionaryError:
        raise
    except Exception:  # a hostile file can make the reader raise anything
        raise DictionaryError(NOT_ONE) from None
    _check(dictionary, dimensions)
    return PrototypeDictionary(dictionary.embeddings.float(), dictionary.labels.long(), dictionary.class_names)


def _check(dictionary: PrototypeDictionary, dimensions: int) -> None:
    names, vectors = dictionary.class_names, dictionary.embeddings
    if not 1 <= len(dictionary) <= MOST_PROTOTYPES:
        raise DictionaryError(
            f"This dictionary holds {len(dictionary)} prototypes; from 1 to {MOST_PROTOTYPES} can be used."
        )
    if vectors.shape[1] != dimensions:
        raise DictionaryError(
            f"The prototypes of this dictionary have {vectors.shape[1]} dimensions, and those of this page's encoder "
            f"{dimensions}: it was made with another encoder."
        )
    if not vectors.is_floating_point() or not torch.isfinite(vectors).all() or (vectors.float().norm(dim=1) == 0).any():
        raise DictionaryError(
            "Some prototypes cannot be compared: they are zero, or not finite. Save the dictionary again."
        )
    if dictionary.labels.is_floating_point() or dictionary.labels.dtype == torch.bool:
        raise DictionaryError("The labels of this dictionary are not whole numbers. Save it again.")
    known = all(isinstance(name, str) and name.strip() and name.isprintable() for name in names)
    if not (known and 1 <= len(names) <= MOST_CLASSES and max(map(len, names)) <= LONGEST_NAME):
        raise DictionaryError(
            f"A dictionary has 1 to {MOST_CLASSES} classes with names of at most {LONGEST_NAME} characters; "
            "this file has others."
        )
    if len({name.casefold() for name in names}) < len(names):
        raise DictionaryError("Two classes of this dictionary have the same name.")


def names_of(dictionary: PrototypeDictionary, clusters: Clusters) -> dict[int, int] | None:
    """Cluster -> class id, if all prototypes are centres of these clusters; else None."""
    if dictionary.class_names != clusters.class_names:
        return None
    distance, cluster = torch.cdist(dictionary.embeddings, clusters.centers).min(1)
    if (distance > 1e-3).any() or len(set(cluster.tolist())) < len(dictionary):
        return None
    return dict(zip(cluster.tolist(), dictionary.labels.tolist(), strict=True))
