"""Proto2Seg step by step, each against a slow transcription of the paper's sentence."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs

from histolab_lite.kernels.kmeans import kmeans
from histolab_lite.methods import proto2seg
from histolab_lite.methods.proto2seg import (
    MIXTURE,
    PrototypeDictionary,
    cluster_then_query,
    direct_query,
    embed,
    encode,
)
from histolab_lite.models import Encoder, load_encoder
from histolab_lite.models.checkpoint import save_weights

NAMES = ("stroma", "tumour", "gland")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(n: int, k: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    x, truth = make_blobs(n, 8, centers=k, cluster_std=0.5, random_state=seed)
    return torch.from_numpy(x).float(), truth


def dictionary(seed: int = 0) -> PrototypeDictionary:
    return PrototypeDictionary(torch.randn(6, 4, generator=seeded(seed)), torch.arange(6) % 3, NAMES)


def nearest_class(vector: list[float], table: PrototypeDictionary, metric: str) -> int:
    best, label = -math.inf, -1
    for prototype, name in zip(table.embeddings.tolist(), table.labels.tolist(), strict=True):
        if metric == "cosine":
            dot = sum(a * b for a, b in zip(vector, prototype, strict=True))
            score = dot / (math.hypot(*vector) * math.hypot(*prototype))
        else:
            score = -math.dist(vector, prototype)
        if score > best:
            best, label = score, name
    return label


# The elbow


@pytest.mark.parametrize("k", [4, 6])
def test_elbow_finds_about_the_number_of_separate_blobs(k):
    ks = [1, 3, *range(4, 12), 20]
    embeddings = blobs(240, k, seed=k)[0]
    chosen, distances, reduction = proto2seg.elbow(embeddings, ks)
    assert abs(chosen - k) <= 1
    assert distances[0] == pytest.approx((embeddings - embeddings.mean(0)).square().sum().item(), rel=1e-4)
    added = [2, *[1] * 8, 9]
    np.testing.assert_allclose(reduction, [(distances[i] - distances[i + 1]) / n for i, n in enumerate(added)])


# What a person looks at


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 30), k=st.integers(1, 5), t=st.integers(1, 12), seed=st.integers(0, 1000))
def test_central_sampling_shows_the_t_nearest_to_the_centre(n, k, t, seed):
    generator = seeded(seed)
    embeddings, centers = torch.randn(n, 3, generator=generator), torch.randn(k, 3, generator=generator)
    labels = torch.randint(k, (n,), generator=generator)  # some clusters may be empty
    for cluster, shown in enumerate(proto2seg.representatives(embeddings, labels, centers, t)):
        members = [i for i in range(n) if labels[i] == cluster]
        members.sort(key=lambda i: math.dist(embeddings[i].tolist(), centers[cluster].tolist()))
        assert shown.tolist() == members[:t]


def test_equidistant_sampling_runs_from_centre_to_border():
    embeddings = torch.arange(21.0)[torch.randperm(21, generator=seeded())][:, None]
    arguments = embeddings, torch.zeros(21, dtype=torch.int64), torch.zeros(2, 1)
    shown, nothing = proto2seg.representatives(*arguments, 5, "equidistant")
    assert embeddings[shown, 0].tolist() == [0, 5, 10, 15, 20]
    assert len(nothing) == 0  # the second cluster is empty
    everything = proto2seg.representatives(*arguments, 30, "equidistant")[0]
    assert embeddings[everything, 0].tolist() == list(range(21))


# Naming


@pytest.mark.parametrize(
    ("fractions", "purity", "name"),
    [
        ([[1, 0, 0], [1, 0, 0]], 0.8, 0),
        ([[0, 0.75, 0.25], [0, 1, 0]], 0.8, 1),  # 87.5 %
        ([[0.5, 0.5, 0], [0.5, 0.5, 0]], 0.8, MIXTURE),
        ([[0, 0, 0.1], [0, 0, 0]], 0.8, 2),  # the other pixels are ignored
        ([[0.7, 0.1, 0], [0, 0, 0]], 0.8, 0),  # 87.5 % of what is not ignored
        ([[0, 0, 0], [0, 0, 0]], 0.8, MIXTURE),
        ([[0.75, 0.25, 0]], 0.7, 0),
        ([[0.75, 0.25, 0]], 0.75, MIXTURE),  # 75 % does not exceed 75 %
        (np.zeros((0, 3)), 0.8, MIXTURE),  # an empty cluster
    ],
)
def test_a_cluster_is_named_if_one_class_exceeds_the_purity_of_the_pixels_shown(fractions, purity, name):
    everything = np.array([*fractions, *[[0, 0, 1]] * 3])  # patches that are not shown do not count
    assert proto2seg.name_clusters(everything, [torch.arange(len(fractions))], purity).tolist() == [name]


# The dictionary


def test_dictionary_holds_the_centres_of_the_named_clusters_and_survives_the_disk(tmp_path):
    centers = torch.randn(4, 3)
    table = proto2seg.build_dictionary(centers, torch.tensor([1, MIXTURE, 0, 1]), ("Stroma", "Tumör, “invasive”"))
    read = PrototypeDictionary.load(table.save(tmp_path / "dictionary.safetensors"))
    for found in (table, read):
        assert len(found) == 3
        assert torch.equal(found.embeddings, centers[[0, 2, 3]])
        assert found.labels.tolist() == [1, 0, 1]
        assert found.class_names == ("Stroma", "Tumör, “invasive”")


@pytest.mark.parametrize(
    ("tensors", "about"),
    [
        ({"conv1.weight": torch.ones(1)}, {"class_names": "[]"}),
        ({"embeddings": torch.ones(1, 2), "labels": torch.zeros(1, dtype=torch.int64)}, {}),
    ],
)
def test_a_file_that_is_no_dictionary_is_refused(tmp_path, tensors, about):
    path = save_weights(tensors, tmp_path / "weights.safetensors", about)
    with pytest.raises(ValueError, match="weights.safetensors is not a prototype dictionary"):
        PrototypeDictionary.load(path)


def test_step_2_in_one_call_names_pure_blobs_and_drops_the_mixed_one():
    embeddings, truth = blobs(200, 4)
    fractions = np.eye(4)[truth][:, :3]
    fractions[truth == 3] = [0.5, 0.5, 0]
    table = proto2seg.simulate_dictionary(embeddings, fractions, NAMES, k=4, t=5)
    assert sorted(table.labels.tolist()) == [0, 1, 2]
    for prototype, label in zip(table.embeddings, table.labels.tolist(), strict=True):
        torch.testing.assert_close(prototype, embeddings[truth == label].mean(0), atol=1e-3, rtol=1e-3)
    again = proto2seg.simulate_dictionary(embeddings, fractions, NAMES, k=4, t=5)
    assert torch.equal(again.embeddings, table.embeddings)


# Queries


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_direct_query_is_the_loop_over_locations(metric):
    table, features = dictionary(), torch.randn(2, 4, 3, 5, generator=seeded(1))
    result = direct_query(features, table, metric)
    assert result.shape == (2, 3, 5)
    for b, row, column in np.ndindex(2, 3, 5):
        assert result[b, row, column] == nearest_class(features[b, :, row, column].tolist(), table, metric)
    assert torch.equal(direct_query(features[0], table, metric), result[0])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("gamma", [1, 2, 5, 100])  # the last: as many groups as locations
def test_cluster_then_query_is_the_papers_recipe(metric, gamma):
    """Count the d classes of DQ, make γ·d groups, query with each group's centre, label its locations with that."""
    table, features = dictionary(seed=2), torch.randn(4, 6, 7, generator=seeded(3))
    result = cluster_then_query(features, table, gamma, metric, generator=seeded(9)).flatten()
    d = len(direct_query(features, table, metric).unique())
    locations = features.flatten(1).T
    labels = kmeans(locations, min(gamma * d, 42), generator=seeded(9)).labels
    assert len(labels.unique()) > 1
    for group in labels.unique().tolist():
        center = locations[labels == group].mean(0).tolist()
        assert set(result[labels == group].tolist()) == {nearest_class(center, table, metric)}


def test_a_batch_is_its_images_one_by_one():
    """Images of one, two and three classes, so that each has its own number of groups."""
    table = PrototypeDictionary(torch.eye(3), torch.arange(3), NAMES)
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 0, 1, 2]).view(3, 1, 3).repeat(1, 4, 2)
    features = torch.eye(3)[truth].permute(0, 3, 1, 2) + 0.01 * torch.randn(3, 3, 4, 6, generator=seeded())
    together = cluster_then_query(features, table, gamma=1, generator=seeded())
    assert torch.equal(together, truth)
    for image, classes in zip(features, together, strict=True):
        assert torch.equal(cluster_then_query(image, table, gamma=1, generator=seeded(4)), classes)


# From image to grid and back


@pytest.mark.parametrize(("height", "width", "patch", "stride"), [(37, 50, 8, 8), (64, 64, 16, 16), (5, 90, 9, 7)])
def test_a_location_is_the_embedding_of_the_patch_around_it(height, width, patch, stride):
    torch.manual_seed(0)
    encoder = Encoder(1 / 64).eval()
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    features = encode(rgb, encoder, patch, stride)
    rows, cols = max(1, round(height / stride)), max(1, round(width / stride))
    assert features.shape == (encoder.channels, rows, cols)
    mirrored = np.pad(rgb, ((patch, patch), (patch, patch), (0, 0)), mode="reflect")
    for row, col in np.ndindex(rows, cols):
        y = int((row + 0.5) * height / rows) + patch - patch // 2
        x = int((col + 0.5) * width / cols) + patch - patch // 2
        expected = embed(mirrored[None, y : y + patch, x : x + patch], encoder)[0]
        torch.testing.assert_close(features[:, row, col], expected, atol=1e-5, rtol=1e-5)


def test_embeddings_have_length_one_and_the_default_encoder_is_used():
    rgb = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    default = load_encoder()
    torch.testing.assert_close(encode(rgb).norm(dim=0), torch.ones(3, 4))
    torch.testing.assert_close(encode(rgb, patch=None), F.normalize(default.encode(rgb), dim=0))
    torch.testing.assert_close(embed(rgb[None, :32, :32]), F.normalize(default.embed(rgb[None, :32, :32]), dim=1))


def test_the_coarse_mask_repeats_each_location_over_its_pixels():
    ids = torch.tensor([[0, 5, 255], [3, 1, 2]], dtype=torch.uint8)
    mask = proto2seg.upsample(ids, (8, 12))
    assert mask.dtype == torch.uint8
    assert torch.equal(mask, ids.repeat_interleave(4, 0).repeat_interleave(4, 1))
    uneven = proto2seg.upsample(ids, (5, 7))
    assert uneven.shape == (5, 7)
    assert (uneven[0, 0], uneven[-1, -1]) == (0, 2)


def show(t=1, sampling="central"):
    proto2seg.representatives(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64), torch.zeros(1, 2), t, sampling)


EMPTY = PrototypeDictionary(torch.zeros(0, 4), torch.zeros(0).long(), NAMES)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: proto2seg.elbow(torch.randn(20, 2), [2, 3]), "three increasing"),
        (lambda: proto2seg.elbow(torch.randn(20, 2), [2, 3, 3]), "three increasing"),
        (lambda: proto2seg.elbow(torch.randn(20, 2), [4, 3, 2]), "three increasing"),
        (lambda: show(sampling="random"), "'random'"),
        (lambda: show(t=0), "t = 0"),
        (
            lambda: proto2seg.build_dictionary(torch.randn(4, 3), torch.full((4,), MIXTURE), NAMES),
            "dropped as a mixture",
        ),
        (lambda: PrototypeDictionary(torch.ones(2, 3), torch.tensor([0]), NAMES), "no dictionary"),
        (lambda: PrototypeDictionary(torch.ones(3), torch.tensor([0, 1, 2]), NAMES), "no dictionary"),
        (lambda: PrototypeDictionary(torch.ones(1, 3), torch.tensor([3]), NAMES), "ids of the 3 classes"),
        (lambda: PrototypeDictionary(torch.ones(1, 3), torch.tensor([-1]), NAMES), "ids of the 3 classes"),
        *[
            (lambda query=query, features=features, table=table: query(features, table), word)
            for query in (direct_query, cluster_then_query)
            for features, table, word in (
                (torch.zeros(5, 2, 2), dictionary(), "dictionary of 4 dimensions: use the encoder"),
                (torch.zeros(4, 2), dictionary(), "do not fit"),
                (torch.zeros(4, 2, 2), EMPTY, "dictionary is empty"),
                (torch.full((4, 2, 2), math.nan), dictionary(), "NaN"),
            )
        ],
        (lambda: cluster_then_query(torch.zeros(4, 2, 2), dictionary(), gamma=0), "gamma must be at least 1"),
        (lambda: encode(np.zeros((48, 70, 3), np.uint8), patch=0), "at least 1 pixel"),
    ],
)
def test_bad_input_is_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call()
