"""What tests run in processes of their own.

Such a process imports the function by name, and the name of a test module depends on the folder of
the checkout: hence here.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import torch

import singsong.training.checkpoints
from singsong.training.accompaniment_model import AccompanimentModel, target_logits
from singsong.training.checkpoints import keep_only, save_checkpoint
from singsong.training.optimizer import t5x_adafactor
from singsong.training.train import train
from singsong.training.train_config import TrainConfig
from tests.support.trained import small_accompaniment

SOURCE, TARGET = torch.arange(2, 16).reshape(2, 7), torch.arange(2, 20).reshape(2, 9)


def step(model: Any, optimizer: Any) -> None:
    optimizer.zero_grad()
    target_logits(model, SOURCE, TARGET).square().mean().backward()
    optimizer.step()


def save(run: Path, model: Any, optimizer: Any, *, at: int, **metrics: float) -> None:
    loader = {"samples": at * 8}
    save_checkpoint(
        run,
        model=model,
        optimizer=optimizer,
        step=at,
        loader=loader,
        metrics=metrics,
        config={"seed": 0},
    )


def save_until_killed(run: Path, where: str) -> None:
    """Saves steps 1, 2 and 3, keeps two, and kills itself in step 3 before `where` is called."""
    torch.set_num_threads(1)
    model = small_accompaniment()
    optimizer = t5x_adafactor(model.parameters())
    for at in (1, 2, 3):
        step(model, optimizer)
        if at == 3:
            owner, name = OWNERS[where]
            setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        save(run, model, optimizer, at=at)
        keep_only(run, last=2, metric="nll")


OWNERS = {
    "the weights": (AccompanimentModel, "save_pretrained"),
    "the optimiser": (singsong.training.checkpoints, "save_file"),
    "the state": (Path, "write_text"),
    "the disk": (singsong.training.checkpoints, "_flush"),
    "the name": (Path, "rename"),
    "the end": (singsong.training.checkpoints, "_read"),
    "removing": (shutil, "rmtree"),
}


def train_as_process(config: TrainConfig) -> None:
    """Trains as one of the processes that `torchrun` started."""
    torch.set_num_threads(1)
    train(config)
