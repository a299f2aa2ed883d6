"""Clusters from seeds, and the files that a visitor saves."""

import anndata
import numpy as np
import pytest

from demos.sic import exports, views
from demos.sic.results import cluster
from demos.sic.session import Session
from histolab_lite.formats.ome_tiff import read_labels
from histolab_lite.formats.qupath import read_geojson
from tests.demos.saved import unpack
from tests.demos.sic.planted import COLUMNS, PITCH, blobs, kinds


@pytest.fixture(scope="module")
def session() -> Session:
    return Session().show(blobs(), "token").rename("a, b, c").apply([["seed", 5, 0], ["seed", 45, 1], ["seed", 85, 2]])


@pytest.fixture(scope="module")
def found(session):
    return cluster(session.slide, session.work).best


@pytest.fixture
def saved(session, found, tmp_path):
    """Saves a file in one of the formats; the path."""

    def save(export):
        name, content = unpack(export(session.slide, session.work, found))
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return save


def test_one_seed_per_kind_finds_the_rest_and_without_two_classes_there_is_only_a_suggestion(session, found):
    assert (found.labels == kinds()).mean() > 0.9
    assert found.confidence.shape == (90,)
    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1
    for seeds, others in (([["seed", 5, 0], ["seed", 6, 0]], {1, 2}), ([], {0, 1, 2})):
        work = session.apply([["clear"], *seeds]).work
        answer = cluster(session.slide, work)
        assert (answer.best, answer.lost) == (None, ())
        assert kinds()[answer.suggestion] in others
    full = session.apply([["clear"], *(["seed", patch, 0] for patch in range(90))])
    assert cluster(full.slide, full.work).suggestion is None


def contradicting(session: Session, last: int) -> Session:
    """With seeds on three patches of one kind, one of which contradicts the others."""
    return session.apply([["seed", 0, last], ["seed", 1, 0], ["seed", 2, 0]])


def test_of_two_classes_the_first_is_the_target_and_of_three_every_one(session):
    two = Session().show(blobs(), "token").apply([["seed", 45, 1], ["seed", 85, 1]])
    for seeded, last, divided in ((two, 1, "The tumour cluster"), (session, 2, "Every cluster")):
        work = contradicting(seeded, last).work
        first, *rest = (step.text for step in cluster(blobs(), work).iterations)
        assert first.startswith("Seeded k-means on all patches. F1 on your seeds 0.")
        assert rest
        assert all(text.startswith(f"{divided} was divided") for text in rest)


def test_a_seed_that_ends_in_another_class_is_named_unless_its_cluster_is_held(session):
    wrong = contradicting(session, 2)
    answer = cluster(wrong.slide, wrong.work)
    ended = answer.best.labels
    assert answer.lost == tuple(patch for patch, name in wrong.work.seeds.items() if ended[patch] != name)
    assert answer.lost
    assert "ended in another class" in views.state(wrong, answer)
    held = wrong.apply([["hold", True]])
    assert not np.array_equal(cluster(held.slide, held.work).best.confidence, answer.best.confidence)


def test_the_outlines_give_back_the_grid(session, found, saved):
    slide = session.slide
    assert slide.origin == (64 + 32, 192 + 32)
    path = saved(exports.qupath)
    back = read_geojson(path, (9, COLUMNS), ["a", "b", "c"], origin=slide.origin, downsample=PITCH, background=255)
    assert np.array_equal(back.ravel(), found.labels)


def test_the_label_image_covers_the_slide(found, saved):
    image = read_labels(saved(exports.label_image))
    assert image.ids.shape == (1280 // 16, 1024 // 16)
    assert (image.mpp, image.class_names) == (pytest.approx(8), ("a", "b", "c"))
    expected = np.full(image.ids.shape, 255)
    expected[14:50, 6:46] = np.kron(found.labels.reshape(9, COLUMNS), np.ones((4, 4)))
    assert np.array_equal(image.ids, expected)


def test_anndata_holds_classes_seeds_confidence_and_the_map(session, found, saved):
    data = anndata.read_h5ad(saved(exports.h5ad))
    assert data.shape == (90, 16)
    assert (data.obs["class"].cat.codes.to_numpy() == found.labels).all()
    assert data.obs["seed"].dropna().to_dict() == {"blobs-5": "a", "blobs-45": "b", "blobs-85": "c"}
    assert np.allclose(data.obs["confidence"], found.confidence)
    assert np.allclose(data.obsm["X_umap"], session.slide.umap)
    assert np.array_equal(data.obsm["X_rgb_umap"], session.slide.colours)


def test_names_are_escaped_on_the_page(session):
    html = views.state(session.rename('a<script>"x, b'), cluster(session.slide, session.work))
    assert "Of 90 patches: a&lt;script&gt;" in html
    assert "<script" not in html
    assert "<b>" not in views.waiting(views.Progress("<b>", 0.5))
