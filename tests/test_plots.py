"""Figures: a scale bar is as long as it says, colours are those of the palette, and every function draws."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402

from histolab_lite import plots  # noqa: E402

PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
IDS = np.array([[0, 1, 2], [255, 1, 7]], np.uint8)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_masks_take_the_colours_of_the_palette_and_unknown_ids_grey(dtype):
    image = plots.colour_mask(IDS.astype(dtype), PALETTE)
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert image[1].tolist() == [[128] * 3, [0, 255, 0], [128] * 3]
    assert plots.colour_mask(np.array([[-1]]), PALETTE).tolist() == [[[128] * 3]]
    assert plots.class_colours(PALETTE).tolist() == np.eye(3).tolist()


def test_an_overlay_mixes_colours_and_leaves_ignored_pixels_alone():
    image = np.full((2, 3, 3), 101, np.uint8)
    mixed = plots.overlay(image, IDS, PALETTE, opacity=0.4)
    assert mixed.dtype == np.uint8
    assert mixed[1, 0].tolist() == [101] * 3
    assert mixed[0, 0].tolist() == [round(101 * 0.6 + 255 * 0.4), round(101 * 0.6), round(101 * 0.6)]
    np.testing.assert_array_equal(plots.overlay(image, IDS, PALETTE, opacity=0), image)
    opaque = plots.overlay(image, IDS, PALETTE, opacity=1)
    np.testing.assert_array_equal(opaque[0], plots.colour_mask(IDS, PALETTE)[0])


@settings(max_examples=25)
@given(st.integers(32, 3000), st.integers(32, 3000), st.floats(0.1, 64), st.none())
@example(300, 1000, 0.5, "100 µm")
@example(300, 400, 0.25, "20 µm")
@example(300, 2048, 4.0, "1 mm")
def test_a_scale_bar_is_as_long_as_it_says(height, width, mpp, text):
    figure, ax = plt.subplots()
    plots.scale_bar(ax, (height, width), mpp)
    plt.close(figure)
    plate, bar = ax.patches
    label = ax.texts[0]
    assert text is None or label.get_text() == text
    value, unit = label.get_text().split()
    length = float(value) * {"µm": 1, "mm": 1000}[unit]
    assert bar.get_width() * mpp == pytest.approx(length)
    assert float(f"{length:.0e}") == pytest.approx(length)  # one significant digit …
    assert f"{length:e}"[0] in "125"  # … and a round one
    assert 0.08 * width <= bar.get_width() <= 0.2 * width * (1 + 1e-9)
    # The bar lies on its plate, the plate in the image.
    inner, outer = bar.get_bbox(), plate.get_bbox()
    assert 0 <= outer.x0 <= inner.x0 < inner.x1 <= outer.x1 <= width
    assert 0 <= outer.y0 <= inner.y0 < inner.y1 <= outer.y1 <= height
    assert inner.x0 < label.get_position()[0] < inner.x1


def test_an_image_has_a_title_and_a_scale_bar_where_its_scale_is_known():
    _, (with_scale, without) = plt.subplots(ncols=2)
    plots.show(with_scale, np.zeros((300, 1000, 3), np.uint8), "title", mpp=0.5)
    plots.show(without, np.zeros((9, 9, 3), np.uint8))
    assert with_scale.texts[0].get_text() == "100 µm"
    assert with_scale.get_title() == "title"
    assert not with_scale.axison
    assert (len(without.images), len(without.patches)) == (1, 0)


def test_the_key_names_every_colour():
    figure = plt.figure(layout="constrained")
    plots.key(figure, ["a", "b", "c"], PALETTE)
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]
    assert [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    figure.canvas.draw()
    with pytest.raises(ValueError, match="longer"):
        plots.key(figure, ["a", "b"], PALETTE)


def test_a_gallery_is_a_row_with_white_gaps():
    patches = [np.full((4, 4, 3), value, np.uint8) for value in (10, 20, 30)]
    row = plots.gallery(patches, gap=2)
    assert row.shape == (4, 4 * 3 + 2 * 2, 3)
    assert row[0, :, 0].tolist() == [10] * 4 + [255] * 2 + [20] * 4 + [255] * 2 + [30] * 4
    with pytest.raises(ValueError, match="no patch to show"):
        plots.gallery([])


def test_a_dictionary_sheet_shows_every_cluster_with_its_name_and_colour():
    rows = [[np.full((8, 8, 3), 20 * i, np.uint8)] * 3 for i in range(5)]
    rows[3] = []  # an empty cluster keeps its name
    colours = [(50 * i, 0, 255) for i in range(5)]
    figure = plots.dictionary_sheet(rows, list("abcde"), colours, columns=2)
    figure.canvas.draw()
    assert len(figure.axes) == 6
    shown = {ax.get_title(loc="left") or ax.get_title(): ax for ax in figure.axes}
    for name, patches, colour in zip("abcde", rows, colours, strict=True):
        assert len(shown[name].images) == bool(patches)
        if patches:
            np.testing.assert_array_equal(shown[name].images[0].get_array(), plots.gallery(patches))
            assert to_rgb(shown[name].patches[0].get_facecolor()) == pytest.approx(np.array(colour) / 255)
    with pytest.raises(ValueError, match="no cluster has a patch"):
        plots.dictionary_sheet([[], []], ["a", "b"], [(0, 0, 0)] * 2)


def test_bars_show_means_and_every_seed():
    _, ax = plt.subplots()
    plots.bars_with_spread(ax, {"DQ": [0.5, 0.7], "CQ": [0.9]}, "Dice")
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.6, 0.9])
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.5, 0.7], [0.9]]
    assert [text.get_text() for text in ax.texts] == ["0.60", "0.90"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["DQ", "CQ"]
    assert ax.get_ylabel() == "Dice"


@pytest.mark.parametrize("method", ["t-SNE", pytest.param("UMAP", marks=pytest.mark.slow)])
def test_a_map_keeps_groups_apart_whatever_the_lengths(method):
    rng = np.random.default_rng(0)
    groups = np.arange(60) % 3
    vectors = (np.eye(8)[groups] + 0.05 * rng.normal(size=(60, 8))) * rng.uniform(0.1, 10, (60, 1))
    points = plots.to_plane(vectors, method)
    assert points.shape == (60, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(1)] == groups).all()
    with pytest.raises(ValueError, match="UMAP"):
        plots.to_plane(vectors, "PCA")
