"""A saved dictionary can be loaded again; every other file is refused with a reason, and deleted."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save

from demos.proto2seg.dictionary import DictionaryError, names_of, read_dictionary, to_bytes
from demos.proto2seg.samples import Clusters
from histolab_lite.methods.proto2seg import PrototypeDictionary

NAMES = ("fat", "muscle")
EYE, LABELS = torch.eye(8)[:3], torch.tensor([0, 1, 0])
SAVED = to_bytes(PrototypeDictionary(EYE, LABELS, NAMES))


def content(embeddings=EYE, labels=LABELS, names=NAMES, **more) -> bytes:
    return save({"embeddings": embeddings, "labels": labels, **more}, {"class_names": json.dumps(names)})


def read(folder, file: bytes) -> PrototypeDictionary:
    path = folder / "own.safetensors"
    path.write_bytes(file)
    try:
        return read_dictionary(path, 8)
    finally:
        assert not path.exists(), "a visitor's file is deleted"


@pytest.mark.parametrize("file", [SAVED, content(EYE.half(), LABELS.to(torch.uint8))])
def test_what_was_saved_comes_back(tmp_path, file):
    again = read(tmp_path, file)
    assert torch.equal(again.embeddings, EYE)
    assert torch.equal(again.labels, LABELS)
    assert (again.embeddings.dtype, again.labels.dtype, again.class_names) == (torch.float32, torch.int64, NAMES)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"", "not a dictionary"),
        (b"\x89PNG\r\n", "not a dictionary"),
        (SAVED[:-9], "not a dictionary"),
        (save({"weights": torch.zeros(3)}), "not a dictionary"),
        (content(extra=torch.zeros(1)), "not a dictionary"),
        (content(labels=LABELS[:2]), "not a dictionary"),
        (content(labels=torch.tensor([0, 1, 2])), "not a dictionary"),
        (content(labels=torch.tensor([0, 1, -1])), "not a dictionary"),
        (content(names=5), "not a dictionary"),
        (content(torch.zeros(0, 8), torch.zeros(0).long()), "0 prototypes"),
        (content(torch.ones(1001, 8), torch.zeros(1001).long()), "1001 prototypes"),
        (content(torch.eye(4)[:3]), "4 dimensions"),
        (content(torch.full((3, 8), float("nan"))), "cannot be compared"),
        (content(torch.zeros(3, 8)), "cannot be compared"),
        (content(torch.ones(3, 8).int()), "cannot be compared"),
        (content(labels=LABELS.float()), "whole numbers"),
        (content(labels=LABELS.bool()), "whole numbers"),
        (content(names=["fat", "b" * 31]), "1 to 9 classes"),
        (content(names=["fat", 7]), "1 to 9 classes"),
        (content(names=["fat", "a\u202eb"]), "1 to 9 classes"),
        (content(names=list("abcdefghij")), "1 to 9 classes"),
        (content(names=["fat", "Fat"]), "same name"),
        (b" " * 4_000_001, "4 MB"),
    ],
)
def test_a_bad_file_is_explained_and_deleted(tmp_path, bad, said):
    with pytest.raises(DictionaryError, match=said) as error:
        read(tmp_path, bad)
    assert str(tmp_path) not in str(error.value)


def test_a_file_of_another_kind_is_not_opened(tmp_path):
    torch.save({"embeddings": EYE, "labels": LABELS}, tmp_path / "own.pt")
    for name, said in (("own.pt", ".safetensors"), ("gone.safetensors", "did not arrive")):
        with pytest.raises(DictionaryError, match=said):
            read_dictionary(tmp_path / name, 8)


def test_names_come_back_where_prototypes_are_cluster_centres():
    clusters = Clusters(torch.eye(8), (), np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)), NAMES)
    for rows, scale, names, found in (
        ([5, 2], 1.0, NAMES, {5: 1, 2: 0}),
        ([5, 2], 1.1, NAMES, None),
        ([5, 5], 1.0, NAMES, None),
        ([5, 2], 1.0, ("fat", "bone"), None),
    ):
        own = PrototypeDictionary(torch.eye(8)[rows] * scale, torch.tensor([1, 0]), names)
        assert names_of(own, clusters) == found
