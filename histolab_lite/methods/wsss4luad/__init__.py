"""WSSS4LUAD as a kit: the challenge's data, scores and leaderboard, and the ideas of its best teams as modules.

Han, Pan, Yan, Lin et al., "WSSS4LUAD: Grand challenge on weakly-supervised tissue semantic segmentation for lung
adenocarcinoma", arXiv:2204.06455, 2022.
"""

from histolab_lite.methods.wsss4luad.challenge.checks import Problem, check_dataset
from histolab_lite.methods.wsss4luad.challenge.files import (
    BACKGROUND,
    CLASSES,
    MPP,
    PALETTE,
    EvaluationImage,
    TrainingPatch,
    parse_name,
    read_evaluation,
    read_training,
    resized,
)
from histolab_lite.methods.wsss4luad.challenge.foreground import foreground, single_class_masks
from histolab_lite.methods.wsss4luad.challenge.leaderboard import LEADERBOARD, rank, table
from histolab_lite.methods.wsss4luad.challenge.phantom import make_phantom, training_masks
from histolab_lite.methods.wsss4luad.challenge.scores import Scores, challenge_scores
from histolab_lite.methods.wsss4luad.challenge.submission import (
    SubmissionError,
    check_submission,
    pack,
    score_submission,
)
from histolab_lite.methods.wsss4luad.challenge.task import Task, challenge_task, tiles_task
from histolab_lite.methods.wsss4luad.ideas.balancing import balanced_indices, channel_statistics
from histolab_lite.methods.wsss4luad.ideas.inference import Predict, ensemble, multi_scale, segment
from histolab_lite.methods.wsss4luad.ideas.labelling_rounds import Costs, RoundRecord, simulate_rounds
from histolab_lite.methods.wsss4luad.ideas.losses import easy_weights, hard_negative_loss, segmentation_loss
from histolab_lite.methods.wsss4luad.ideas.network import MultiTask, Siamese, by_maps, by_network, map_masks, presence
from histolab_lite.methods.wsss4luad.ideas.postprocessing import fill_background, normal_rule
from histolab_lite.methods.wsss4luad.ideas.splicing import mosaic, splice
from histolab_lite.methods.wsss4luad.ideas.training import Recipe, Samples, gather, pseudo_masks, train, train_tags

__all__ = [
    "BACKGROUND",
    "CLASSES",
    "LEADERBOARD",
    "MPP",
    "PALETTE",
    "Costs",
    "EvaluationImage",
    "MultiTask",
    "Predict",
    "Problem",
    "Recipe",
    "RoundRecord",
    "Samples",
    "Scores",
    "Siamese",
    "SubmissionError",
    "Task",
    "TrainingPatch",
    "balanced_indices",
    "by_maps",
    "by_network",
    "challenge_scores",
    "challenge_task",
    "channel_statistics",
    "check_dataset",
    "check_submission",
    "easy_weights",
    "ensemble",
    "fill_background",
    "foreground",
    "gather",
    "hard_negative_loss",
    "make_phantom",
    "map_masks",
    "mosaic",
    "multi_scale",
    "normal_rule",
    "pack",
    "parse_name",
    "presence",
    "pseudo_masks",
    "rank",
    "read_evaluation",
    "read_training",
    "resized",
    "score_submission",
    "segment",
    "segmentation_loss",
    "simulate_rounds",
    "single_class_masks",
    "splice",
    "table",
    "tiles_task",
    "train",
    "train_tags",
    "training_masks",
]
