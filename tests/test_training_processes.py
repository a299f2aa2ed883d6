"""The training loop in processes of its own: killed in mid-epoch, and as one run on several."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def run_script(folder: Path, script: str, *command: str) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(script)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, errors = process.communicate(timeout=180)
    finally:
        process.terminate()  # torchrun then ends its workers, which killing it would leave behind
        process.wait(60)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


SIMCLR = """
import json, os, signal, sys
import numpy as np
import torch
from histolab_lite.methods.simclr import pretrain
from histolab_lite.models import Encoder
from histolab_lite.training import Checkpoint

class Mortal(Encoder):
    # Kills its own process, without warning, in the middle of a step.
    forwards_left = None
    def forward(self, x):
        if self.forwards_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.forwards_left is not None:
            self.forwards_left -= 1
        return super().forward(x)

def run(name, seed, checkpoint=None, forwards=None):
    torch.manual_seed(seed)
    encoder = Mortal(1 / 16)
    encoder.forwards_left = forwards
    patches = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    history = pretrain(encoder, patches, epochs=3, batch_size=8, device="cpu", progress=None, checkpoint=checkpoint)
    torch.save({"weights": encoder.state_dict(), "history": history}, name)

checkpoint = Checkpoint("run.pt", every=2)
if sys.argv[1] == "first":
    run("whole.pt", seed=0)
    run("never.pt", seed=0, checkpoint=checkpoint, forwards=5)
else:
    run("resumed.pt", seed=1, checkpoint=checkpoint)
"""


def test_killed_in_mid_epoch_and_started_again_simclr_ends_bit_identical(tmp_path):
    """3 epochs of 3 steps, saved every 2, killed in the sixth: the second epoch is half done, its fifth step lost."""
    killed = run_script(tmp_path, SIMCLR, "script.py", "first")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "never.pt").exists()
    assert torch.load(tmp_path / "run.pt", weights_only=True)["step"] == 4
    again = run_script(tmp_path, SIMCLR, "script.py", "again")
    assert again.returncode == 0, again.stderr
    whole, resumed = (torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "resumed.pt"))
    assert len(whole["history"]) == 3
    assert resumed["history"] == whole["history"]
    for key, value in whole["weights"].items():
        assert torch.equal(resumed["weights"][key], value), key


TOGETHER = """
import json, sys
from pathlib import Path
import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from histolab_lite.kernels.nt_xent import nt_xent
from histolab_lite.methods.simclr import gather, pretrain
from histolab_lite.models import Encoder
from histolab_lite.training import Checkpoint, fit

x = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
y = x.square().sum(1)


def network():
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)  # rank 0's weights are to win
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5))

def contrast(model, indices):
    z1, z2 = model(torch.cat([x[indices], x[indices] + 0.3 * y[indices, None].cos()])).chunk(2)
    return nt_xent(gather(z1), gather(z2), 0.2)

def regress(model, indices):
    return (model(x[indices])[:, 0] - y[indices]).square().mean()

def train(loss, **options):
    model = network()
    settings = {"epochs": 1, "batch_size": 16, "lr": 1e-3, "device": "cpu", "progress": None}
    history = fit(model, loss, 16, data=[x, y], **(settings | options))
    return {
        "history": history,
        "grad": torch.cat([p.grad.flatten() for p in model.parameters()]).tolist(),
        "weights": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist(),
    }

def failure(kind, call):
    try:
        call()
    except kind as error:
        return str(error)

def poisoned(model, indices):
    return regress(model, indices) * (float("nan") if 0 in indices else 1)

def steep(model, indices):
    value = regress(model, indices)
    if 0 in indices:
        value.register_hook(lambda gradient: gradient * float("nan"))
    return value

drawn = []
def remember(model, indices):
    drawn.append((indices.tolist(), torch.rand(()).item()))
    return regress(model, indices)

def everything():
    results = {
        "contrast": train(contrast),
        "regress": train(regress, epochs=3, batch_size=8),
        "checkpointed": train(regress, epochs=3, batch_size=8, checkpoint=Checkpoint("run.pt", every=3)),
        "remember": train(remember, batch_size=8),
        "drawn": drawn,
        "poisoned": failure(FloatingPointError, lambda: train(poisoned)),
        "steep": failure(FloatingPointError, lambda: train(steep, checkpoint=Checkpoint("steep.pt", every=1))),
        "odd": failure(ValueError, lambda: train(regress, batch_size=5)),
    }
    if dist.is_initialized():
        torch.manual_seed(dist.get_rank())
        encoder = Encoder(1 / 64)
        patches = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
        history = pretrain(encoder, patches, epochs=2, batch_size=4, device="cpu", progress=None)
        results["simclr"] = history, torch.cat([p.detach().flatten() for p in encoder.parameters()]).tolist()
    return results

if __name__ == "__main__":
    dist.init_process_group("gloo")
    Path(f"rank{dist.get_rank()}.json").write_text(json.dumps(everything()))
    dist.destroy_process_group()
"""


def test_two_processes_are_one_on_the_joined_batch(tmp_path, monkeypatch):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run_script(tmp_path, TOGETHER, *torchrun, "script.py")
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.pt").unlink()
    namespace: dict = {"__name__": "alone"}
    exec(TOGETHER, namespace)
    alone = namespace["everything"]()
    for name in ("contrast", "regress", "checkpointed"):
        for rank in ranks:
            assert rank[name]["history"] == pytest.approx(alone[name]["history"], rel=1e-5)
            # Gradients too: AdamW would hide one that is twice too large.
            assert rank[name]["grad"] == pytest.approx(alone[name]["grad"], rel=1e-3, abs=1e-5)
            assert rank[name]["weights"] == pytest.approx(alone[name]["weights"], abs=1e-5)
        assert ranks[0][name]["history"] == ranks[1][name]["history"]
    # Each batch is shared out, and every process draws its own random numbers.
    drawn = (run["drawn"] for run in (*ranks, alone))
    for (first, noise_1), (second, noise_2), (both, _) in zip(*drawn, strict=True):
        assert sorted(first + second) == sorted(both)
        assert noise_1 != noise_2
    # A loss that fails in one process ends all of them, and none hangs.
    assert all("nan at step 0" in rank["poisoned"] for rank in ranks)
    assert all("norm is nan at step 0" in rank["steep"] for rank in ranks)
    assert not (tmp_path / "steep.pt").exists()
    assert all("cannot be shared equally by 2 processes" in rank["odd"] for rank in ranks)
    assert alone["odd"] is None
    assert ranks[0]["simclr"] == ranks[1]["simclr"]
