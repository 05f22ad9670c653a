"""Everything a run will do, as one frozen value that can be read, kept as TOML, and run again.

A field that is ``None`` has not been decided; `trimtab.planning.resolve` decides it from the data and the budget.
Fields without a default decision (a column name, a limit) may stay ``None`` for good.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from trimtab.budget import Budget
from trimtab.errors import InputError, nearest
from trimtab.storage import sha256_bytes

_SECTIONS = {
    "data": "what is learned from",
    "budget": "limits; a run that misses one says so and exits with 3",
    "model": "what is trained",
    "training": "how it is trained",
    "delivery": "what is handed over",
}


def _setting(section: str, comment: str, default: Any = None) -> Any:
    """Declare a field of the plan: where it stands in the TOML file, what it means, and its default if it has one."""
    metadata = {"section": section, "comment": comment}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run, resolved or still to be resolved. Each field's meaning stands beside it and in the TOML file."""

    data: str = _setting("data", "built-in name, folder of class folders, CSV, Parquet or npz file", MISSING)
    target: str | None = _setting("data", "label column of a table")
    group: str | None = _setting("data", "rows with one value in this column stay in one part")
    skip_unreadable: bool = _setting("data", "go on without files that cannot be read", False)
    validation_fraction: float | None = _setting("data", "share of the rows that chooses the weights")
    test_fraction: float | None = _setting("data", "share of the rows that is sealed until the end")
    image_size: int | None = _setting("data", "pictures are squashed to this many pixels a side")
    seed: int = _setting("data", "of the split, the weights, the order and the augmentation", 0)

    minutes: float | None = _setting("budget", "the whole run, by the clock on the wall")
    megabytes: float | None = _setting("budget", "the delivered model file, 1,000,000 bytes each")
    milliseconds: float | None = _setting("budget", "p95 of one example, raw input to probabilities")

    model: str | None = _setting("model", "mlp, cnn, separable_cnn, resnet or vit")
    options: dict[str, Any] = field(
        default_factory=dict,
        metadata={"section": "model", "comment": "the builder's keyword arguments, such as widths"},
    )

    engine: str | None = _setting("training", "torch or numpy")
    steps: int | None = _setting("training", "optimizer steps; without it, as many as the minutes allow")
    epochs_at_most: int | None = _setting("training", "passes over the rows that a timed run will not exceed")
    batch_size: int | None = _setting("training", "rows per step")
    optimizer: str | None = _setting("training", "adamw, muon or sgd")
    learning_rate: float | None = _setting("training", "peak of the schedule")
    weight_decay: float | None = _setting("training", "decoupled L2 on weights, not on biases and normalization")
    l1: float | None = _setting("training", "coupled L1 on the same weights; sets small ones to zero")
    l2: float | None = _setting("training", "coupled L2 on the same weights (part of the gradient)")
    schedule: str | None = _setting("training", "one-cycle, linear, cosine, warm-up-stable-decay or constant")
    label_smoothing: float | None = _setting("training", "share of the target spread over all classes")
    dropout: float | None = _setting("training", "share of features dropped before the last layer (mlp: each layer)")
    stochastic_depth: float | None = _setting("training", "share of residual branches skipped, where there are any")
    ema: float | None = _setting("training", "decay of the moving average of the weights that is delivered; 0 off")
    augment: str | None = _setting("training", "none, light or strong")
    flip: bool | None = _setting("training", "whether augmentation may mirror pictures left and right")
    mixup: float | None = _setting("training", "alpha of mixing two rows and their labels; 0 off")
    cutmix: float | None = _setting("training", "alpha of pasting a part of one picture into another; 0 off")
    precision: str | None = _setting("training", "float32 or bfloat16 (a probe may turn the latter down)")
    patience: int | None = _setting("training", "validations without progress before the end is brought forward")
    remedies: bool | None = _setting("training", "try changes where training left time, and take one shown to help")
    teacher: str | None = _setting("training", "ensemble, run or ONNX file whose probabilities are learned, too")
    teacher_mean: str | None = _setting("training", "of pixels from 0 to 1, by channel, for another's ONNX file")
    teacher_std: str | None = _setting("training", "the same for their spread, such as 0.229,0.224,0.225")
    distill_weight: float = _setting("training", "share of the target that is the teacher's, where there is one", 0.7)
    distill_temperature: float = _setting("training", "of the teacher's probabilities; above 1 evens them out", 1.0)
    deterministic: bool = _setting("training", "the same weights on any number of workers, bit for bit", False)
    accumulate: int = _setting("training", "parts that a batch is computed in, to save memory", 1)
    threads: int | None = _setting("training", "processor threads; the last bit of the weights depends on it")

    test_time: str | None = _setting("delivery", "none, or mirror: also predict the mirror image (twice the time)")
    calibrate: bool = _setting("delivery", "fit a temperature on validation rows, kept if shown to help", True)
    quantize: bool = _setting(
        "delivery", "try number formats of 8 bits and fewer, and deliver the first that fits", True
    )
    max_drop: float = _setting(
        "delivery", "accuracy points that a smaller format may lose (95% bound, validation rows)", 1.0
    )

    @property
    def budget(self) -> Budget:
        """The three limits."""
        return Budget(minutes=self.minutes, megabytes=self.megabytes, milliseconds=self.milliseconds)

    def to_toml(self, reasons: Mapping[str, str] | None = None) -> str:
        """Return commented TOML; undecided fields stand there as comments, decided ones with their reason."""
        reasons = reasons or {}
        lines: list[str] = []
        for section, meaning in _SECTIONS.items():
            lines += ["", f"[{section}]  # {meaning}"]
            for entry in fields(self):
                if entry.metadata["section"] == section:
                    comment = reasons.get(entry.name, entry.metadata["comment"])
                    lines.append(_toml_line(entry.name, getattr(self, entry.name), " ".join(comment.split())))
        return "\n".join(lines[1:]) + "\n"

    @classmethod
    def from_toml(cls, path: Path) -> Plan:
        """Read a plan.

        Raises
        ------
        InputError
            If the file is not TOML, or names or types are wrong: all mistakes at once.
        """
        try:
            content = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} cannot be read as a plan ({error})", "a TOML file", "check it") from error
        values: dict[str, Any] = {}
        for section, entries in content.items():
            values.update(entries if isinstance(entries, dict) and section in _SECTIONS else {section: entries})
        mistakes = _mistakes(values)
        if mistakes:
            raise InputError(
                f"{path}: {'; '.join(mistakes)}",
                "the names and types that `trimtab plan` prints",
                "correct the file",
            )
        return cls(**values)


def plan_text(plan: Plan, reasons: Mapping[str, str]) -> str:
    """Return the TOML of a resolved plan with a heading that says how to use it."""
    heading = "# A trimtab plan: everything a run does, resolved. `trimtab run plan.toml` carries it out.\n\n"
    return heading + plan.to_toml(reasons)


def hash_plan(plan: Plan) -> str:
    """Return a hash that is equal for equal plans."""
    return sha256_bytes(plan.to_toml().encode())


def check_types(settings: Mapping[str, Any]) -> None:
    """Refuse settings of the wrong type; ``None`` leaves one open.

    Raises
    ------
    TypeError
        If one is: all mistakes at once.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    mistakes = _mistakes({"data": "", **given})
    if mistakes:
        raise TypeError(f"{'; '.join(mistakes)}; expected the types of Plan; correct them.")


def _mistakes(values: Mapping[str, Any]) -> list[str]:
    hints = get_type_hints(Plan)
    known = {entry.name for entry in fields(Plan)}
    found = [f"'{name}' is not a setting{_hint(name, known)}" for name in values if name not in known]
    found += [
        f"{name} is {value!r}, not {_type_name(hints[name])}"
        for name, value in values.items()
        if name in known and not _fits(value, hints[name])
    ]
    return found + ([] if "data" in values else ["there is no 'data'"])


def _hint(name: str, known: set[str]) -> str:
    suggestion = nearest(name, known).strip()
    return f" ({suggestion})" if suggestion else ""


def _allowed(hint: Any) -> tuple[type, ...]:
    """Return the types a value may have: ``int | None`` gives ``int``."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(get_origin(option) or option for option in options if option is not NoneType)


def _fits(value: Any, hint: Any) -> bool:
    allowed = _allowed(hint)
    if isinstance(value, bool):
        return bool in allowed
    return isinstance(value, (*allowed, int) if float in allowed else allowed)


def _type_name(hint: Any) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
    return " or ".join(names[option] for option in _allowed(hint))


def _toml_line(name: str, value: Any, comment: str) -> str:
    if value is None:
        return f"# {name} =  # {comment}"
    return f"{name} = {_toml_value(value)}  # {comment}"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        items = ", ".join(f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    # JSON's text for text, numbers and booleans is TOML's, given that DEL, which TOML refuses raw, is escaped.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)
