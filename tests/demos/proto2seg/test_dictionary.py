"""Dictionaries as files: what was saved comes back; whatever else comes is refused with a reason, and deleted."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save

from demos.proto2seg.dictionary import DictionaryError, names_of, read_dictionary, to_bytes
from demos.proto2seg.samples import Clusters
from histolab_lite.methods.proto2seg import PrototypeDictionary

NAMES = ("fat", "muscle")


def dictionary(rows: int = 3) -> PrototypeDictionary:
    return PrototypeDictionary(torch.eye(8)[:rows], torch.arange(rows) % 2, NAMES)


def file(tmp_path, content: bytes, name: str = "own.safetensors"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def content(embeddings=None, labels=None, names=None, **more) -> bytes:
    tensors = {"embeddings": torch.eye(8)[:3] if embeddings is None else embeddings}
    tensors["labels"] = torch.tensor([0, 1, 0]) if labels is None else labels
    return save({**tensors, **more}, {"class_names": json.dumps(list(NAMES) if names is None else names)})


def test_what_was_saved_comes_back(tmp_path):
    path = file(tmp_path, to_bytes(dictionary()))
    again = read_dictionary(path, 8)
    assert torch.equal(again.embeddings, dictionary().embeddings)
    assert torch.equal(again.labels, dictionary().labels)
    assert again.class_names == NAMES
    assert not path.exists()
    half = read_dictionary(file(tmp_path, content(torch.eye(8)[:3].half(), torch.tensor([0, 1, 0]).to(torch.uint8))), 8)
    assert (half.embeddings.dtype, half.labels.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"", "not a dictionary"),
        (b"\x89PNG\r\n", "not a dictionary"),
        (b"\xff" * 100, "not a dictionary"),
        (to_bytes(dictionary())[:-9], "not a dictionary"),
        (save({"weights": torch.zeros(3)}), "not a dictionary"),
        (content(extra=torch.zeros(1)), "not a dictionary"),
        (content(labels=torch.tensor([0, 1])), "not a dictionary"),
        (content(labels=torch.tensor([0, 1, 2])), "not a dictionary"),
        (content(labels=torch.tensor([0, 1, -1])), "not a dictionary"),
        (content(names=5), "not a dictionary"),
        (content(torch.zeros(0, 8), torch.zeros(0).long()), "0 prototypes"),
        (content(torch.ones(1001, 8), torch.zeros(1001).long()), "1001 prototypes"),
        (content(torch.eye(4)[:3]), "4 dimensions"),
        (content(torch.full((3, 8), float("nan"))), "no vectors"),
        (content(torch.zeros(3, 8)), "no vectors"),
        (content(torch.ones(3, 8).int()), "no vectors"),
        (content(labels=torch.tensor([0.0, 1.0, 0.0])), "whole numbers"),
        (content(names=["fat", "b" * 31]), "1 to 9 classes"),
        (content(names=["fat", 7]), "1 to 9 classes"),
        (content(names=["fat", "a\u202eb"]), "1 to 9 classes"),
        (content(names=list("abcdefghij")), "1 to 9 classes"),
        (content(names=["fat", "Fat"]), "same name"),
        (b" " * 4_000_001, "4 MB"),
    ],
)
def test_a_bad_file_is_explained_and_deleted(tmp_path, bad, said):
    path = file(tmp_path, bad)
    with pytest.raises(DictionaryError, match=said) as error:
        read_dictionary(path, 8)
    assert not path.exists()
    assert str(tmp_path) not in str(error.value)


def test_a_file_of_another_kind_is_not_opened(tmp_path):
    torch.save({"embeddings": torch.eye(8), "labels": torch.zeros(8)}, tmp_path / "own.pt")
    with pytest.raises(DictionaryError, match=".safetensors"):
        read_dictionary(tmp_path / "own.pt", 8)
    with pytest.raises(DictionaryError, match="did not arrive"):
        read_dictionary(tmp_path / "gone.safetensors", 8)


def test_names_come_back_where_prototypes_are_cluster_centres():
    clusters = Clusters(torch.eye(8), (), np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)), NAMES)
    own = PrototypeDictionary(torch.eye(8)[[5, 2]], torch.tensor([1, 0]), NAMES)
    assert names_of(own, clusters) == {5: 1, 2: 0}
    other = PrototypeDictionary(torch.eye(8)[[5, 2]] * 1.1, torch.tensor([1, 0]), NAMES)
    assert names_of(other, clusters) is None
    assert names_of(PrototypeDictionary(own.embeddings, own.labels, ("fat", "bone")), clusters) is None
    assert names_of(PrototypeDictionary(torch.eye(8)[[5, 5]], own.labels, NAMES), clusters) is None
