"""What seeds become, and the files that are taken home."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the demos need gradio: pip install 'histolab-lite[demos]'")

import anndata  # noqa: E402

from demos.sic import exports, views  # noqa: E402
from demos.sic.results import cluster  # noqa: E402
from demos.sic.session import Session  # noqa: E402
from histolab_lite.formats.ome_tiff import read_labels  # noqa: E402
from histolab_lite.formats.qupath import read_geojson  # noqa: E402
from tests.demos.sic.planted import PITCH, blobs, kinds  # noqa: E402

SEEDS = [["seed", 5, 0], ["seed", 45, 1], ["seed", 85, 2]]


@pytest.fixture
def session() -> Session:
    return Session().show(blobs(), "token").rename("a, b, c").apply(SEEDS)


@pytest.fixture
def found(session):
    return cluster(session.slide, session.work).best


def content(packed: str, path):
    path = path / json.loads(packed)["name"]
    path.write_bytes(base64.b64decode(json.loads(packed)["content"]))
    return path


def test_a_seed_of_each_kind_finds_the_rest(session, found):
    assert (found.labels == kinds()).mean() > 0.9
    assert found.confidence.shape == (90,)
    assert found.confidence.min() >= 0
    assert found.kept


def test_with_seeds_of_one_class_there_is_a_suggestion_alone(session):
    alone = session.apply([["clear"], ["seed", 5, 0], ["seed", 6, 0]])
    answer = cluster(alone.slide, alone.work)
    assert answer.best is None
    assert kinds()[answer.suggestion] != 0


def test_nothing_clicked_has_a_suggestion_too(session):
    answer = cluster(session.slide, session.apply([["clear"]]).work)
    assert answer.suggestion in range(90)


def test_of_two_classes_the_first_is_the_one_sought():
    session = Session().show(blobs(), "token").apply([["seed", 5, 0], ["seed", 45, 1], ["seed", 85, 1]])
    told = [one.text for one in cluster(session.slide, session.work).iterations]
    assert "Seeded k-means on all patches" in told[0]
    assert not any("other cluster" in text for text in told)


def test_a_seed_that_its_cluster_lost_is_named(session):
    wrong = session.apply([["seed", 0, 2], ["seed", 1, 0], ["seed", 2, 0]])
    answer = cluster(wrong.slide, wrong.work)
    ended = answer.best.labels
    assert answer.lost == tuple(patch for patch, name in wrong.work.seeds.items() if ended[patch] != name)
    assert answer.lost
    assert "ended in another class" in views.state(wrong, answer)


def test_outlines_return_the_grid(session, found, tmp_path):
    slide = session.slide
    path = content(exports.qupath(slide, session.work, found), tmp_path)
    back = read_geojson(path, (9, 10), ["a", "b", "c"], origin=slide.origin, downsample=slide.pitch, background=255)
    assert np.array_equal(back.ravel(), found.labels)
    assert slide.origin == (64 + 32, 192 + 32)


def test_the_label_image_covers_the_slide(session, found, tmp_path):
    image = read_labels(content(exports.label_image(session.slide, session.work, found), tmp_path))
    assert image.ids.shape == (1280 // 16, 1024 // 16)
    assert image.mpp == pytest.approx(8)
    assert image.class_names == ("a", "b", "c")
    step = PITCH // 16
    top, left = (224 // 16), (96 // 16)
    inner = image.ids[top : top + 9 * step, left : left + 10 * step]
    assert np.array_equal(inner[step // 2 :: step, step // 2 :: step].ravel(), found.labels)
    outside = image.ids.copy()
    outside[top : top + 9 * step, left : left + 10 * step] = 255
    assert (outside == 255).all()


def test_anndata_holds_classes_seeds_confidence_and_the_map(session, found, tmp_path):
    data = anndata.read_h5ad(content(exports.h5ad(session.slide, session.work, found), tmp_path))
    assert data.shape == (90, 16)
    assert (data.obs["class"].cat.codes.to_numpy() == found.labels).all()
    assert data.obs["seed"].dropna().to_dict() == {"blobs-5": "a", "blobs-45": "b", "blobs-85": "c"}
    assert np.allclose(data.obs["confidence"], found.confidence)
    assert data.obsm["X_umap"].shape == (90, 2)


def test_the_page_is_told_what_it_draws(session):
    answer = cluster(session.slide, session.work)
    html = views.state(session, answer)
    assert "<script" not in views.state(session.rename("a<script>x, b"), answer)
    assert "Of 90 patches: a " in html
    assert "a%" not in html
