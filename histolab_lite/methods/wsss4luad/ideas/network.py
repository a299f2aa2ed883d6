"""One encoder for two tasks: which tissues a patch shows, and where.

WSSS4LUAD (Han et al., 2022), Sect. IV-B: a classifier and a segmentation network with atrous pooling share an encoder
(Lin et al., 1st place; Zhu et al., 2nd); two such networks learn together and are averaged (Lin et al.); the
classifier sees the encoder's last three stages, fused by interpolation (Li et al.). The paper does not say how the
stages are joined: here they are concatenated.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from histolab_lite.methods.mlps.classification import check_tags
from histolab_lite.methods.mlps.masks import strongest
from histolab_lite.methods.mlps.segmentation import DeepLab
from histolab_lite.methods.wsss4luad.ideas.inference import Predict

FUSED = 3


class MultiTask(DeepLab):
    """DeepLabV3+ with a classifier on its encoder; `forward` segments, (B, 3, H, W) in [0, 1] -> logits (B, K, H, W).

    Parameters
    ----------
    n_classes
        K.
    encoder, decoder_channels, encoder_depth
        As in `DeepLab`.
    statistics
        Mean (3,) and standard deviation (3,) of the data, as in Lin et al.; None for those of ImageNet.

    Raises
    ------
    ValueError
        For statistics of another shape, or a deviation that is not positive.
    """

    def __init__(
        self,
        n_classes: int,
        encoder: str = "resnet18",
        decoder_channels: int = 256,
        encoder_depth: int = 5,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        super().__init__(n_classes, encoder, decoder_channels, encoder_depth)
        if statistics is not None:
            mean, std = (torch.as_tensor(value, dtype=torch.float32) for value in statistics)
            if mean.shape != (3,) or std.shape != (3,) or not (std > 0).all():
                raise ValueError(f"statistics are a mean (3,) and a positive deviation (3,), not {statistics}.")
            self.mean, self.std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
        for name in ("mean", "std"):
            self.register_buffer(name, getattr(self, name))  # persistent: they are saved with the weights
        self.classifier = nn.Conv2d(sum(self.network.encoder.out_channels[-FUSED:]), n_classes, 1)

    def both(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run both tasks in one pass.

        Returns
        -------
        maps
            (B, K, h, w); their mean over h and w gives the classifier's logits.
        logits
            (B, K, H, W), those of `forward`.
        """
        stages = self.network.encoder(self.prepare(x))
        logits = self.network.segmentation_head(self.network.decoder(stages))
        return self._maps(stages), logits[:, :, : x.shape[2], : x.shape[3]]

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the class maps alone, (B, K, h, w).

        References
        ----------
        The CAM of a linear classifier is its map before pooling: Zhou et al., CVPR 2016.
        """
        return self._maps(self.network.encoder(self.prepare(x)))

    def _maps(self, stages: list[torch.Tensor]) -> torch.Tensor:
        size = stages[-FUSED].shape[2:]
        fused = [F.interpolate(s, size, mode="bilinear", align_corners=False) for s in stages[-FUSED:]]
        return self.classifier(torch.cat(fused, 1))


class Siamese(nn.Module):
    """One network, or two that teach each other.

    Raises
    ------
    ValueError
        For another number of networks, or different numbers of classes.
    """

    def __init__(self, *networks: MultiTask) -> None:
        super().__init__()
        if len(networks) not in (1, 2) or len({network.n_classes for network in networks}) != 1:
            raise ValueError("expected one network, or two with the same number of classes.")
        self.networks: Sequence[MultiTask] = nn.ModuleList(networks)  # type: ignore[assignment]
        self.n_classes = networks[0].n_classes

    def forward(self, x: torch.Tensor, tasks: str = "answer") -> torch.Tensor | list[tuple[torch.Tensor, torch.Tensor]]:
        """Segment, or run the tasks that training by `fit` needs.

        Parameters
        ----------
        x
            Images (B, 3, H, W) in [0, 1].
        tasks
            "answer" for the logarithm of the networks' mean probability, (B, K, H, W); "maps" for `maps`; "both" for a
            list of each network's `MultiTask.both`.
        """
        if tasks == "maps":
            return self.maps(x)
        if tasks == "both":
            return [network.both(x) for network in self.networks]
        each = torch.stack([network(x).float().log_softmax(1) for network in self.networks])
        return each.logsumexp(0) - torch.tensor(float(len(each)), device=each.device).log()

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the class maps of all networks, float32 (1 or 2, B, K, h, w)."""
        return torch.stack([network.maps(x).float() for network in self.networks])


@torch.inference_mode()
def presence(model: Siamese, images: torch.Tensor) -> torch.Tensor:
    """Compute the probability that a tissue is present: images (B, 3, H, W) in [0, 1] -> float32 (B, K), on the CPU."""
    model.eval()
    maps = model.maps(images.to(next(model.parameters()).device))
    return maps.mean((3, 4)).sigmoid().mean(0).cpu()


@torch.inference_mode()
def map_masks(model: Siamese, images: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Make pseudo masks from the class maps.

    Parameters
    ----------
    model
        Trained network or networks.
    images
        (B, 3, H, W) in [0, 1].
    tags
        (B, K) of 0 and 1.

    Returns
    -------
    uint8 (B, H, W), on the CPU
        Class ids of tagged classes.

    Raises
    ------
    ValueError
        If an image has no tag, or the tags do not match the images.
    """
    present = check_tags(tags, len(images), model.n_classes)
    if not present.any(1).all():
        raise ValueError("an image without any tag has no mask; leave it out.")
    model.eval()
    maps = model.maps(images.to(next(model.parameters()).device)).mean(0)
    return strongest(maps.relu(), present.to(maps.device), images.shape[2:]).to(torch.uint8).cpu()


def by_maps(model: Siamese) -> Predict:
    """Predict by class maps without tags: the strongest of the tissues with probability > 0.5, or the most probable."""

    def predict(images: torch.Tensor) -> torch.Tensor:
        found = presence(model, images)
        ids = map_masks(model, images, (found > 0.5) | (found == found.amax(1, keepdim=True)))
        return F.one_hot(ids.long(), model.n_classes).permute(0, 3, 1, 2).float()

    return predict


def by_network(model: Siamese) -> Predict:
    """Predict by the segmentation: images (B, 3, H, W) in [0, 1] -> probabilities (B, K, H, W), on the CPU."""

    @torch.inference_mode()
    def predict(images: torch.Tensor) -> torch.Tensor:
        model.eval()
        return model(images.to(next(model.parameters()).device)).exp().cpu()

    return predict
