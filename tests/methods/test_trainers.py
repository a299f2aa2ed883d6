"""What all training functions share: options, draws by seed, and checkpoints that hold all that a run depends on."""

import numpy as np
import pytest
import torch

from benchmarks.experiments.baselines import mil, sub_categories
from histolab_lite.methods import mlps, refinement, simclr
from histolab_lite.methods.cvm import training as cvm
from histolab_lite.methods.wsss4luad.ideas import training as ideas
from histolab_lite.models import Encoder
from histolab_lite.models.segmenters import MapUNet
from histolab_lite.training import Checkpoint, with_defaults
from tests.methods.two_tissues import PerPixel, halves

OPTIONS = {"epochs": 2, "batch_size": 2, "device": "cpu", "progress": None}
TRAINERS = {
    "SimCLR": simclr.pretrain,
    "refinement": refinement.train_segmenter,
    "classifier": mlps.train_classifier,
    "segmenter": mlps.train_segmenter,
    "points": cvm.train,
    "tags": ideas.train_tags,
    "masks": ideas.train,
    "bags": mil.train,
    "one round": sub_categories.train_jointly,
    "all rounds": sub_categories.train_sub_categories,
}


def nothing(name: str) -> list[None]:
    """None for every positional argument: whatever looks at it fails with another message."""
    return [None] * TRAINERS[name].__code__.co_argcount


@pytest.mark.parametrize("name", TRAINERS)
def test_an_unknown_option_is_named_before_any_work(name):
    with pytest.raises(TypeError, match=r"unknown argument 'epoch'; the options of training are epochs, batch_size"):
        TRAINERS[name](*nothing(name), epoch=1)


@pytest.mark.parametrize("name", ["SimCLR", "refinement", "bags"])
def test_a_missing_number_of_epochs_is_named(name):
    with pytest.raises(TypeError, match="'epochs' is missing"):
        TRAINERS[name](*nothing(name))


def test_the_callers_options_win_over_the_defaults():
    options = with_defaults({"lr": 0.5, "seed": 0}, epochs=3, batch_size=4, lr=0.1, seed=7)
    assert options == {"epochs": 3, "batch_size": 4, "lr": 0.5, "seed": 0}


def test_training_on_points_calls_back_although_it_uses_the_end_of_an_epoch_itself():
    told = []
    maps, points = [torch.rand(4, 8, 8)] * 2, [{0: torch.tensor([[0, 0]]), 1: torch.tensor([[7, 7]])}] * 2
    run = cvm.train(
        MapUNet(4, 2, 1), maps, points, (maps, points), **OPTIONS, after_epoch=lambda *now: told.append(now)
    )
    assert told == list(enumerate(run.losses))
    assert len(run.validation) == 2


PATCHES, MASKS = halves(6, 24)
TAGS = np.array([[1, 0], [0, 1], [1, 1]] * 2)
RUNS = {  # a network, the data, and options of its own
    "SimCLR": (lambda: Encoder(1 / 64), (PATCHES,), {}),
    "refinement": (PerPixel, (list(PATCHES), list(MASKS)), {"crop": 16, "crops_per_image": 1}),
    "classifier": (lambda: mlps.Classifier(2, 1 / 64), (PATCHES, TAGS), {"epochs": 5}),
    "segmenter": (PerPixel, (PATCHES, {"bn7": MASKS}), {"weights": {"bn7": 1.0}}),
}
OTHERS = {  # options with which a checkpoint is of another run
    "SimCLR": {"temperature": 0.2, "view_size": 16, "stain_strength": 0.0, "grey": 0.5, "zoom": (0.5, 1.0)},
    "refinement": {"crop": 8, "crops_per_image": 2, "stain_strength": 0.0},
    "classifier": {"attention": mlps.constant(), "stain_strength": 0.0},
    "segmenter": {"weights": {"bn7": 0.5}, "stain_strength": 0.0},
}


class Stopped(Checkpoint):
    """Saves once, and ends the run."""

    def save(self, state: dict) -> None:
        super().save(state)
        raise KeyboardInterrupt


def reversed_part(part):
    return {key: value[::-1] for key, value in part.items()} if isinstance(part, dict) else part[::-1]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_its_seeds_and_a_killed_one_goes_on_and_nothing_else_does(name, tmp_path):
    make, data, own = RUNS[name]

    def train(*data, initial=0, **changes):
        torch.manual_seed(initial)
        model = make()
        return TRAINERS[name](model, *data, **(OPTIONS | own | changes)), model.state_dict()

    history, weights = train(*data)
    assert train(*data, seed=1)[0] != history
    saved = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train(*data, checkpoint=Stopped(saved, every=4))
    for setting, value in OTHERS[name].items():
        with pytest.raises(ValueError, match=rf"other settings \(.*\b{setting}:"):
            train(*data, checkpoint=Checkpoint(saved), **{setting: value})
    for place, part in enumerate(data):
        with pytest.raises(ValueError, match=r"other settings \(data: [^;]*\)"):
            train(*data[:place], reversed_part(part), *data[place + 1 :], checkpoint=Checkpoint(saved))
    resumed, same = train(*data, checkpoint=Checkpoint(saved), initial=9)
    assert resumed == history
    for key, value in weights.items():
        assert torch.equal(value, same[key]), key


@pytest.mark.parametrize("name", ["classifier", "segmenter"])
def test_patches_are_shown_upside_down_and_mirrored(name):
    make, (_, target), own = RUNS[name]
    patches = np.full((6, 24, 24, 3), 220, np.uint8)
    patches[:, :12, :12] = 60
    model, darkest = make(), set()

    def look(_, inputs):
        quarters = torch.nn.functional.avg_pool2d(inputs[0].mean(1), 12).flatten(1)
        darkest.update(quarters.argmin(1).tolist())

    model.register_forward_pre_hook(look)
    TRAINERS[name](model, patches, target, **(OPTIONS | own | {"epochs": 5}))
    assert darkest == {0, 1, 2, 3}
