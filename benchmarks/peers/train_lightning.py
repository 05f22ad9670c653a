"""Lightning: its CIFAR-10 tutorial, a ResNet-18 for small pictures under SGD and a one-cycle schedule.

Recipe: Lightning's tutorial "PyTorch Lightning CIFAR10 ~94% Baseline Tutorial": torchvision's ResNet-18 with a 3x3
first convolution and no pooling behind it, SGD at 0.05 with momentum 0.9 and weight decay 5e-4, OneCycleLR with 0.1
at the peak, crops of padded pictures and flips, batches of 64 (its choice without a GPU), half as many loading
processes as cores. The pictures are read from files by torchvision's ImageFolder. The tutorial's validation chooses
nothing, so it is left out, and all pictures are trained on.

The schedule must know the number of steps beforehand. A user finds it by timing some; so does this script, within
the limit. `max_time` ends what turns out slower.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from protocol import Job, main
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader
from torchvision.models import resnet18

BATCH_SIZE = 64
WORKERS = (os.cpu_count() or 2) // 2
TIMED = 0.03  # of the limit, for timing steps; at least two are timed
USED = 0.96  # of what is left: the rest is for steps that turn out slower
TO_SAVE = 3.0  # seconds
NORMALIZE = transforms.Normalize([0.491, 0.482, 0.447], [0.247, 0.243, 0.261])
PLAIN = transforms.Compose([transforms.ToTensor(), NORMALIZE])
AUGMENT = transforms.Compose(
    [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *PLAIN.transforms]
)


class Network(LightningModule):
    """The tutorial's module, with the number of steps instead of that of epochs."""

    def __init__(self, num_classes: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.model = resnet18(weights=None, num_classes=num_classes)
        self.model.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        self.model.maxpool = nn.Identity()

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss."""
        loss = functional.cross_entropy(self.model(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> dict[str, object]:
        """Return optimizer and schedule."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(job: Job) -> None:
    seed_everything(job.seed)
    folder = ImageFolder(str(job.folder), AUGMENT)
    batches = DataLoader(folder, BATCH_SIZE, shuffle=True, num_workers=WORKERS, drop_last=True)
    step_seconds = time_steps(Network(len(folder.classes), 1), batches, TIMED * job.seconds)
    left = job.seconds_left() - TO_SAVE
    steps = max(2, int(USED * left / step_seconds))
    print(f"{step_seconds:.3f} seconds per step, {steps} steps or {steps / len(batches):.2f} epochs fit", flush=True)
    network = Network(len(folder.classes), steps)
    trainer = Trainer(
        max_epochs=-1,
        max_steps=steps,
        max_time={"seconds": max(1.0, left - step_seconds)},
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=job.model,
    )
    trainer.fit(network, batches)
    torch.save(network.model.state_dict(), job.model / "model.pt")
    (job.model / "classes.json").write_text(json.dumps(folder.classes))


def time_steps(network: Network, batches: DataLoader, seconds: float) -> float:
    """Return how long a training step takes, after one that does not count, on a network that is thrown away."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    ends: list[float] = []
    for pictures, labels in batches:
        functional.cross_entropy(network.model(pictures), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.monotonic())
        if len(ends) > 2 and ends[-1] - ends[0] > seconds:
            break
    return (ends[-1] - ends[0]) / (len(ends) - 1)


@torch.inference_mode()
def predict(model: Path, pictures: list[Path]) -> list[str]:
    class_names = json.loads((model / "classes.json").read_text())
    network = Network(len(class_names), 1).model.eval()
    network.load_state_dict(torch.load(model / "model.pt", weights_only=True))
    found: list[str] = []
    for start in range(0, len(pictures), 256):
        block = [PLAIN(default_loader(path)) for path in pictures[start : start + 256]]
        answers = network(torch.stack(block)).argmax(dim=1)
        found += [class_names[number] for number in answers.tolist()]
    return found


if __name__ == "__main__":
    main(train, predict)
