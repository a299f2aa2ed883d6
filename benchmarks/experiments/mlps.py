"""``python -m benchmarks.experiments.mlps --out …``: Tables III and IV of MLPS on our data, all rows, several seeds.

Han et al., "Multi-layer pseudo-supervision for histopathology tissue semantic segmentation using patch-level
classification labels", Medical Image Analysis 2022. Lessons 05 and 06 show the figures beside their own.

A seed is a split by slide or patient, an order of patches, and random weights. Its classifiers go on from one start
that was trained without attention, which stands in for ImageNet's weights. Phase 1 on unseen patches has no tags: the
tissues with ŷ > 0.5, or else the likeliest, take their place. Settings are those of the lessons, trained up to twice
as long; of GlaS, those of ``OWN``; ``--set`` changes one. SC-CAM and HistoSegNet are the paper's baselines: every round
of SC-CAM is trained from the same start for as long as MLPS's first phase, and HistoSegNet works on the classifier
without attention.
"""

import copy
import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.experiments.baselines.histosegnet import histosegnet_masks
from benchmarks.experiments.baselines.sub_categories import train_sub_categories
from benchmarks.report import write_json
from histolab_lite.data import IGNORE
from histolab_lite.data.tiles import load_tiles
from histolab_lite.methods import mlps
from histolab_lite.metrics import SegmentationScores, segmentation_scores
from histolab_lite.models.encoder import Encoder, load_encoder
from histolab_lite.models.segmenters import LinkNet

SETTINGS: dict[str, Any] = {
    "n_slides": 9,
    "size": 1024,
    "mpp": 2.0,
    "patch": 64,
    "n_patches": 640,
    "least": 0.05,
    "width": 1 / 16,
    "start_epochs": 16,
    "epochs": 12,
    "decay": 0.93,
    "hold": 2,
    "segmenter_epochs": 8,
    "segmenter_batch": 8,
    "batch_size": 16,
    "lr": 2e-3,
    "stain_strength": 0.15,
    "attentions": ["none", "DA", "PDA"],
    "supervision": [*mlps.LAYERS, "multi-layer", "truth"],
    "deeplab": ["resnet18", 64, 4],
    "own_encoder": False,  # phase two once more, on the encoder that ships with the package
    "n_sub": 10,
    "rounds": 3,
}
#: 64 pixels at 1.24 µm are 79 µm, close to the 112 pixels at 0.62 µm of published work.
OWN: dict[str, dict[str, Any]] = {
    "glas": {
        "mpp": 1.24,
        "attentions": ["none", "PDA"],
        "supervision": ["multi-layer", "truth"],
        "own_encoder": True,
    }
}
#: Of necrosis, which is a tenth of the phantom's pixels, a quarter of the patches stays. Glass has no tag.
LONG_TAIL = {"phantom": {"necrosis": 0.25}}
GLASS = {"phantom": "background"}
WHITE = {"phantom": 0.9}  # a lumen of GlaS is white too, and part of its gland
CHUNK = 64


def batches(patches: np.ndarray) -> list[torch.Tensor]:
    """float (CHUNK, 3, P, P) in [0, 1]."""
    return [torch.from_numpy(patches[i : i + CHUNK]).permute(0, 3, 1, 2) / 255 for i in range(0, len(patches), CHUNK)]


def presence(model: mlps.Classifier, patches: np.ndarray) -> np.ndarray:
    return torch.cat([mlps.classify(model, x).cpu() for x in batches(patches)]).numpy()


def masks_of(
    model: mlps.Classifier, patches: np.ndarray, tags: np.ndarray, white: float | None = None
) -> dict[str, np.ndarray]:
    """Pseudo masks of all layers; white pixels are left out."""
    parts = np.array_split(tags, range(CHUNK, len(tags), CHUNK))
    found = [
        mlps.pseudo_masks(model, x, torch.from_numpy(t), white=white)
        for x, t in zip(batches(patches), parts, strict=True)
    ]
    result = {layer: torch.cat([part[layer].cpu() for part in found]).numpy() for layer in found[0]}
    return {layer: np.where(ids == tags.shape[1], IGNORE, ids) for layer, ids in result.items()}


def crf_masks_of(model: mlps.Classifier, patches: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """HistoSegNet's masks."""
    parts = np.array_split(tags, range(CHUNK, len(tags), CHUNK))
    pairs = zip(batches(patches), parts, strict=True)
    found = [histosegnet_masks(model, x, torch.from_numpy(t)) for x, t in pairs]
    return torch.cat(found).cpu().numpy()


def segment(
    model: mlps.DeepLab | LinkNet, patches: np.ndarray, classifier: mlps.Classifier | None = None
) -> np.ndarray:
    return torch.cat([mlps.predict(model, x, classifier).argmax(1) for x in batches(patches)]).numpy().astype(np.uint8)


def as_dict(scores: SegmentationScores) -> dict[str, Any]:
    return {
        "iou": scores.iou.round(4).tolist(),
        "fw_iou": round(scores.fw_iou, 4),
        "mean_iou": round(scores.mean_iou, 4),
        "accuracy": round(scores.accuracy, 4),
    }


def one_seed(data: str, seed: int, s: dict[str, Any]) -> dict[str, Any]:
    tiles = load_tiles(data, n_slides=s["n_slides"], size=s["size"], mpp=s["mpp"] / 2)
    images, masks = tiles.read(s["mpp"])
    names = [name for name in tiles.class_names if name != GLASS.get(data)]
    ids = np.full(256, IGNORE, np.uint8)
    for k, name in enumerate(names):
        ids[tiles.class_names.index(name)] = k
    kept = {names.index(name): share for name, share in LONG_TAIL.get(data, {}).items()}
    (x, truth, tags), (x_test, truth_test, tags_test) = (
        mlps.tagged_patches(
            [images[i] for i in side],
            [ids[masks[i]] for i in side],
            s["patch"],
            len(names),
            n,
            least=s["least"],
            kept=kept,
            seed=seed,
        )
        for side, n in zip(tiles.split(1 / 3, seed), (s["n_patches"], None), strict=True)
    )
    k = len(names)
    result: dict[str, Any] = {
        "seed": seed,
        "patches": [len(x), len(x_test)],
        "share_of_pixels": [float((truth == c).sum() / (truth != IGNORE).sum()) for c in range(k)],
        "tagged": tags.sum(0).tolist(),
        "tagged_test": tags_test.sum(0).tolist(),
        "classification": {},
        "pseudo_masks": {},
        "rows": {},
    }
    shared = {key: s[key] for key in ("lr", "stain_strength")} | {"seed": seed, "progress": None}
    first = shared | {"batch_size": s["batch_size"]}
    second = shared | {"batch_size": s["segmenter_batch"], "epochs": s["segmenter_epochs"]}
    torch.manual_seed(seed)
    start = mlps.Classifier(k, s["width"])
    mlps.train_classifier(start, x, tags, attention=None, epochs=s["start_epochs"], **first)
    attentions = {
        "none": None,
        "DA": mlps.constant(0.7),
        "PDA": mlps.DropoutCoefficient(hold=s["hold"], decay=s["decay"]),
    }
    models = {}
    for name in s["attentions"]:
        models[name] = copy.deepcopy(start)
        mlps.train_classifier(models[name], x, tags, attention=attentions[name], epochs=s["epochs"], **first)
    if s["rounds"]:
        models["SC-CAM"] = copy.deepcopy(start)
        options = {"n_sub": s["n_sub"], "rounds": s["rounds"], "epochs": s["epochs"]}
        train_sub_categories(models["SC-CAM"], models.get("none", start), x, tags, **options, **first)
    for name, model in models.items():
        y = presence(model, x_test)
        predicted = ((y > 0.5) | (y == y.max(1, keepdims=True))).astype(np.uint8)
        both = [c for c in range(k) if 0 < tags_test[:, c].sum() < len(tags_test)]
        result["classification"][name] = {
            "accuracy": float(((y > 0.5) == tags_test).mean()),
            "auc": float(np.mean([roc_auc_score(tags_test[:, c], y[:, c]) for c in both])),
        }
        result["pseudo_masks"][name] = {
            layer: as_dict(segmentation_scores(found, truth, k)) for layer, found in masks_of(model, x, tags).items()
        }
        row = name if name == "SC-CAM" else f"phase 1, {name}"
        unseen = masks_of(model, x_test, predicted)["bn7"]
        result["rows"][row] = as_dict(segmentation_scores(unseen, truth_test, k))
        if name == "none":
            unseen = crf_masks_of(model, x_test, predicted)
            result["rows"]["HistoSegNet"] = as_dict(segmentation_scores(unseen, truth_test, k))
    last = models[s["attentions"][-1]]
    pseudo = masks_of(last, x, tags, WHITE.get(data)) | {"truth": truth}
    weights = {layer: {layer: 1.0} for layer in mlps.LAYERS} | {"multi-layer": None, "truth": {"truth": 1.0}}
    for own in (False, True) if s["own_encoder"] else (False,):
        for name in s["supervision"]:
            torch.manual_seed(seed)
            encoder, decoder, depth = s["deeplab"]
            segmenter = _own(k) if own else mlps.DeepLab(k, encoder, decoder, encoder_depth=depth)
            mlps.train_segmenter(segmenter, x, pseudo, weights=weights[name], **second)
            for gated in (False, True):
                found = segment(segmenter, x_test, last if gated else None)
                row = as_dict(segmentation_scores(found, truth_test, k))
                wrong = [((found == c) & (truth_test != c) & (truth_test != IGNORE)).sum() for c in range(k)]
                row["false_positives"] = (np.array(wrong) / (truth_test != IGNORE).sum()).round(5).tolist()
                result["rows"][name + ", own encoder" * own + ", gate" * gated] = row
    return {"classes": names, **result}


def _own(n_classes: int) -> LinkNet:
    """LinkNet on the encoder that ships with the package, which learnt without labels."""
    encoder = load_encoder("default", 32)
    assert isinstance(encoder, Encoder)
    return LinkNet(n_classes, encoder)


def changed(settings: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The settings with "name=value" in place of theirs; a value is JSON. ValueError for a name that is none."""
    result = dict(settings)
    for change in changes:
        name, _, value = change.partition("=")
        if name not in settings:
            raise ValueError(f"{name} is no setting; they are {', '.join(settings)}.")
        result[name] = json.loads(value)
    return result


def main(
    data: Annotated[str, typer.Option(help="phantom, or a data set with masks.")] = "phantom",
    seeds: Annotated[int, typer.Option(help="How many.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON, after every seed.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="A setting, such as segmenter_epochs=12.")] = None,
) -> None:
    try:
        settings = changed(SETTINGS | OWN.get(data, {}), change or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from None
    runs = []
    for seed in range(seeds):
        began = time.perf_counter()
        runs.append(one_seed(data, seed, settings))
        runs[-1]["seconds"] = round(time.perf_counter() - began)
        if out:
            write_json(out, {"data": data, "settings": settings, "runs": runs})
    table = Table(title=f"{data}, {seeds} seeds: mean ± sd on unseen patches")
    for column in ("", *runs[0]["classes"], "FwIoU", "mIoU", "accuracy"):
        table.add_column(column)
    for name in runs[0]["rows"]:
        rows = [run["rows"][name] for run in runs]
        values = np.array([[*row["iou"], row["fw_iou"], row["mean_iou"], row["accuracy"]] for row in rows], float)
        sd = values.std(0, ddof=1) if len(runs) > 1 else np.zeros(values.shape[1])
        table.add_row(name, *(f"{m:.3f} ± {d:.3f}" for m, d in zip(values.mean(0), sd, strict=True)))
    Console(width=150).print(table)


if __name__ == "__main__":
    typer.run(main)
