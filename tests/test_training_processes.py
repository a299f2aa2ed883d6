"""The training loop in processes of its own: killed in mid-epoch, and as one run on several."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from histolab_lite.processes import gather, pick_device
from histolab_lite.training import Checkpoint
from tests import training_script

ROOT = Path(__file__).parents[1]


def run(what: str, folder: Path, *environments: dict[str, str]) -> list[tuple[int, str]]:
    """Exit status and error messages of one process for each environment."""
    code = "from tests.training_script import main; main()"
    quiet = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, what, str(folder)],
            cwd=ROOT,
            env=os.environ | quiet | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    try:
        errors = [process.communicate(timeout=180)[1] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [(process.returncode, error) for process, error in zip(started, errors, strict=True)]


def test_killed_in_mid_epoch_and_started_again_a_run_ends_bit_identical(tmp_path):
    """4 epochs of 2 steps, saved every 3, killed in the sixth: the second epoch is half done, two steps are lost."""
    ((status, errors),) = run("killed", tmp_path, {})
    assert status == -signal.SIGKILL, errors
    assert torch.load(tmp_path / "run.pt", weights_only=True)["step"] == 3
    four = {"epochs": 4, "batch_size": 8}
    whole = training_script.train(training_script.noisy, **four)
    checkpoint = Checkpoint(tmp_path / "run.pt")
    assert training_script.train(training_script.noisy, initial=1, **four, checkpoint=checkpoint) == whole


def test_two_processes_are_one_on_the_joined_batch(tmp_path):
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # where torchrun's processes meet
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    meeting |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    for status, errors in run("together", tmp_path, *(meeting | {"RANK": rank} for rank in "01")):
        assert status == 0, errors
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    (tmp_path / "run.pt").unlink()
    alone = training_script.together(tmp_path)
    for name in ("contrast", "regress"):
        for rank in ranks:
            assert rank[name]["history"] == pytest.approx(alone[name]["history"], rel=1e-5)
            assert rank[name]["weights"] == pytest.approx(alone[name]["weights"], abs=1e-5)
            # Gradients too: AdamW would hide one that is twice too large.
            for own, expected in zip(rank[name]["grad"], alone[name]["grad"], strict=True):
                assert own == pytest.approx(expected, rel=1e-3, abs=1e-5)
        assert ranks[0][name]["history"] == ranks[1][name]["history"]
    # Each batch is shared out, and every process draws its own random numbers.
    drawn = (results["drawn"] for results in (*ranks, alone))
    for (first, noise_1), (second, noise_2), (both, _) in zip(*drawn, strict=True):
        assert sorted(first + second) == sorted(both)
        assert noise_1 != noise_2
    # A loss that fails in one process ends all of them, and none hangs.
    assert all("nan at step 0" in rank["poisoned"] for rank in ranks)
    assert all("norm is nan at step 0" in rank["steep"] for rank in ranks)
    assert not (tmp_path / "steep.pt").exists()
    assert all("cannot be shared equally by 2 processes" in rank["odd"] for rank in ranks)
    assert alone["odd"] is None


def test_alone_there_is_nothing_to_gather():
    z = torch.randn(3, 2)
    assert gather(z) is z


def test_the_device_asked_for_is_taken_else_this_process_s_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device() == torch.device("cuda", 3)
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device() == torch.device("cpu")
