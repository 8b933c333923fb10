"""Trains a model of your own on a dataset: the loader is ours, the model and the loop are yours.

    python examples/train_your_own.py dataset --steps 200 --output checkpoint.pt

Run it again with more steps: it resumes with the next clip. The model here is a small GRU that
reads the vocals' codes and predicts the instrumental's one after the other. It is short, and that
is all that speaks for it.
"""

import argparse
import os
from collections.abc import Sequence

import torch
from torch import nn

import singsong


class SmallModel(nn.Module):
    """Two GRUs: one reads the vocals, the other continues the instrumental from its state."""

    def __init__(self, vocabulary: int, width: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.reader = nn.GRU(width, width, batch_first=True)
        self.writer = nn.GRU(width, width, batch_first=True)
        self.logits = nn.Linear(width, vocabulary)

    def forward(self, vocals: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        """Returns logits [B x T x vocabulary] of vocals [B x S] and the tokens before [B x T]."""
        _, state = self.reader(self.embedding(vocals))
        hidden, _ = self.writer(self.embedding(previous), state)
        return self.logits(hidden)


def vocabulary_size(dataset: singsong.Dataset) -> int:
    """Returns the number of tokens: padding, start, semantic codes, codes of coarse codebooks."""
    semantic, acoustic = dataset.geometry.semantic, dataset.geometry.acoustic
    return 2 + semantic.codebook_size + acoustic.coarse_codebooks * acoustic.codebook_size


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, prints the loss and saves model, optimiser and the position in the data."""
    parser = argparse.ArgumentParser(description="Train a model of your own.")
    parser.add_argument("dataset", help="folder or URL")
    parser.add_argument("--steps", type=int, default=200, help="after which to stop")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--output", default="checkpoint.pt")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    model = SmallModel(vocabulary_size(singsong.open_dataset(args.dataset)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = singsong.ShardDataset(
        args.dataset,
        singsong.Featurization(name="S-SA"),
        singsong.LoaderConfig(batch_size=args.batch_size),
    )
    step = 0
    if os.path.exists(args.output):
        saved = torch.load(args.output, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        data.load_state_dict(saved["data"])
        step = saved["step"]

    batches = iter(data)
    while step < args.steps:
        batch = next(batches)
        target = batch["target_tokens"]
        previous = nn.functional.pad(target[:, :-1], (1, 0), value=1)  # 1 starts the sequence
        logits = model(batch["input_tokens"], previous)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        print(f"step {step}: {loss.item():.3f} nats per code")

    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state | {"data": data.state_dict(), "step": step}, args.output)


if __name__ == "__main__":
    main()
