"""What each kind of network is trained with by default.

`benchmarks/defaults.py` changes one value at a time and trains again, at an equal number of rows seen: the place to
look before one is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MUON_ROWS = 512
"""Rows of a step that Muon's learning rate was measured at."""

LEARNING_RATES: Mapping[str, float] = MappingProxyType({"adamw": 0.003, "muon": 0.04, "sgd": 0.05})
"""Peaks of the schedule for pictures, by optimizer."""

WEIGHT_DECAYS: Mapping[str, float] = MappingProxyType({"adamw": 0.05, "muon": 0.2, "sgd": 0.0005})
"""Decoupled, for pictures, by optimizer."""

_PICTURES = {"optimizer": "adamw", "label_smoothing": 0.05, "schedule": "one-cycle", "augment": "light"}
MEASURED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "cnn": _PICTURES,
        "separable_cnn": _PICTURES,
        "vit": _PICTURES,
        "resnet": _PICTURES | {"optimizer": "muon", "label_smoothing": 0.2},
        "mlp": {
            "optimizer": "adamw",
            "learning_rate": 0.001,
            "weight_decay": 0.1,
            "label_smoothing": 0.0,
            "schedule": "one-cycle",
            "augment": "none",
        },
    }
)
"""By network, the settings that do not depend on how much data there is."""
