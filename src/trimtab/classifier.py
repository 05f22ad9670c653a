"""The networks of trimtab as a scikit-learn classifier; it needs scikit-learn, which comes with ``trimtab[run]``.

It fits in memory and leaves nothing on the disk. Dividing, measuring and searching are scikit-learn's business here;
a run with its sealed test part, its evidence and its bundle is `trimtab.run`.

Legend: ``N`` rows, ``F`` features, ``H W C`` height, width, channels, ``K`` classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, NumberEncoding, TableEncoder
from trimtab.data.frames import Columns, is_frame, number_columns, read_frame, to_table
from trimtab.data.schema import Kind
from trimtab.errors import InputError
from trimtab.plan import Plan, check_types
from trimtab.stages.in_memory import Fitted, fit_in_memory, squash
from trimtab.training.exact import exact_probabilities
from trimtab.training.rows import Rows
from trimtab.training.stepper import predict_probabilities

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
except ModuleNotFoundError as error:
    missing = str(error.name).split(".")[0]
    raise ModuleNotFoundError(
        f"{missing} is not installed; expected scikit-learn for trimtab.Classifier; pip install 'trimtab[run]'.",
        name=missing,
    ) from error

_LENGTHS = ("minutes", "steps", "epochs")
_NOT_OF_THE_PLAN = {"epochs", "hidden", "random_state"}


@final
class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A neural network with scikit-learn's interface: for tables an `mlp`, for pictures a convolutional network.

    What is left at ``None`` is decided from the data, as `trimtab.run` does. The same data, settings and random state
    give the same model, except within ``minutes``.

    Parameters
    ----------
    minutes, steps, epochs
        How long to train, at most one of the three: by the clock, in optimizer steps, or in passes over the rows.
        ``None``: so many steps that a small table takes about a second.
    engine
        ``"numpy"``, or ``"torch"``, which large pictures gain from.
    model
        ``"mlp"`` for tables; for pictures ``"cnn"``, ``"separable_cnn"``, ``"resnet"`` or ``"vit"``.
    hidden
        Widths of the hidden layers of an `mlp`, such as ``[64, 32]``.
    options
        Other keyword arguments of the model, such as ``{"channels": [16, 32]}`` for a `cnn`.
    batch_size, optimizer, learning_rate, weight_decay, l1, l2, schedule, label_smoothing, ema, mixup, patience
        As in `trimtab.training.Recipe`.
    dropout
        Share of the features that are dropped in training.
    augment, flip, cutmix, image_size
        For pictures: ``"none"``, ``"light"`` or ``"strong"``; whether mirrored; alpha of CutMix; pixels a side that
        they are squashed to.
    validation_fraction
        Share of the rows that chooses the best weights. 0: the rows that train choose, which is also the default
        below 200 rows.
    threads
        Processor threads. One by default, since ``n_jobs`` of scikit-learn's tools uses the others.
    random_state
        Seed of everything random: a number, a `numpy.random.RandomState`, or ``None`` for another one each time.

    Attributes
    ----------
    classes_
        [K], in the order of the probabilities.
    n_features_in_
        F; of pictures H * W * C.
    feature_names_in_
        [F] names of the columns, after fitting a data frame whose names are text.
    artifact_
        The trained network and its preprocessing, a `trimtab.Artifact`.
    plan_
        What was done, a `trimtab.Plan` with every decision.
    history_
        A mapping per validation: losses, accuracy, learning rate.

    Notes
    -----
    ``X`` is an array [N, F] of numbers, NaN where one is missing; a data frame of pandas, polars or PyArrow, whose
    columns of numbers, text, truth values and categories are encoded each in its way; or pictures, uint8
    [N, H, W, C] with one or three channels. There are no sample weights.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from trimtab import Classifier
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(cross_val_score(Classifier(steps=100, learning_rate=0.01), X, y, cv=3).mean() > 0.9)
    True
    """

    def __init__(
        self,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        epochs: int | None = None,
        engine: str = "numpy",
        model: str | None = None,
        hidden: Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
        batch_size: int | None = None,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        l1: float | None = None,
        l2: float | None = None,
        schedule: str | None = None,
        label_smoothing: float | None = None,
        dropout: float | None = None,
        ema: float | None = None,
        augment: str | None = None,
        flip: bool | None = None,
        mixup: float | None = None,
        cutmix: float | None = None,
        image_size: int | None = None,
        patience: int | None = None,
        validation_fraction: float | None = None,
        threads: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.minutes = minutes
        self.steps = steps
        self.epochs = epochs
        self.engine = engine
        self.model = model
        self.hidden = hidden
        self.options = options
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.l1 = l1
        self.l2 = l2
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.ema = ema
        self.augment = augment
        self.flip = flip
        self.mixup = mixup
        self.cutmix = cutmix
        self.image_size = image_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train on ``X``, as in the notes, and one class per row, numbers or text; return self.

        Raises
        ------
        ValueError
            If the data or the settings cannot be used.
        TypeError
            If a setting or a cell has the wrong type, or ``X`` is sparse.
        TrainingError
            If training diverges.
        """
        started = time.perf_counter()
        y = validate_data(self, y=y)
        check_classification_targets(y)
        with _value_errors():
            images, columns = self._read(X, reset=True)
            check_consistent_length(X, y)
            classes, labels = np.unique(y, return_inverse=True)
            fitted = self._fit(_dataset_of(images, columns, classes, labels), started)
        self.classes_ = classes
        self.artifact_, self.plan_, self.history_ = fitted.artifact, fitted.plan, fitted.history
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row: [N], of the type of ``classes_``."""
        chosen = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[chosen]
        return found

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Return probabilities [N, K] in the order of ``classes_``: float64, of pictures float32.

        Raises
        ------
        ValueError
            If ``X`` is not of the kind that was fitted.
        """
        check_is_fitted(self, "artifact_")
        with _value_errors():
            images, columns = self._read(X, reset=False)
            if images is not None:
                return self._of_pictures(images)
            encoder = TableEncoder.from_dict(self.artifact_.meta["encoder"])
            inputs = encoder.encode(to_table(columns or {}, _kinds(encoder)))
        return exact_probabilities(self.artifact_, inputs, threads=self.plan_.threads or 1)

    def __sklearn_tags__(self) -> Any:
        """Say that missing values are no mistake."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: Any, *, reset: bool) -> tuple[NDArray[np.uint8] | None, Columns | None]:
        """Return pictures or else columns, checked as scikit-learn does; ``reset`` when they are those to fit."""
        wants_pictures = not reset and self.artifact_.meta["kind"] == "image"
        if _are_pictures(X) and (reset or wants_pictures):
            validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)
            if reset:
                self.n_features_in_ = math.prod(X.shape[1:])
            return X, None
        if wants_pictures or (isinstance(X, np.ndarray) and X.ndim > 2):
            given = f"{X.dtype} {list(X.shape)}" if isinstance(X, np.ndarray) else f"of the type {type(X).__name__}"
            tables = "" if wants_pictures else "numbers [N, F], or "
            raise ValueError(f"X is {given}; expected {tables}pictures, uint8 [N, H, W, 1 or 3]; convert it.")
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return None, read_frame(X)
        values = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return None, number_columns(values)

    def _fit(self, dataset: Dataset, started: float) -> Fitted:
        """Train with the settings as they are now."""
        settings = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        _check_length(settings)
        epochs, fraction = settings["epochs"], settings["validation_fraction"]
        chosen = {name: value for name, value in settings.items() if name not in _NOT_OF_THE_PLAN}
        hidden = {} if self.hidden is None else {"hidden": np.ravel(self.hidden).tolist()}
        chosen["options"] = {**(self.options or {}), **hidden}
        chosen["validation_fraction"] = fraction or None
        check_types(chosen)
        request = Plan(data="X", seed=_seed(self.random_state), **chosen)
        holds_out = None if fraction is None else fraction > 0
        return fit_in_memory(dataset, request, holds_out=holds_out, epochs=epochs, started=started)

    def _of_pictures(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        meta = self.artifact_.meta
        if images.shape[3] != meta["channels"]:
            raise ValueError(f"X has {images.shape[3]} channels; expected {meta['channels']}, as in fit; convert it.")
        rows = Rows.of(
            squash(images, meta["image_size"]),
            np.zeros(len(images), np.int64),
            num_classes=len(meta["class_names"]),
            mean=meta["mean"],
            std=meta["std"],
        )
        return predict_probabilities(
            self.artifact_, rows, engine=str(self.plan_.engine), threads=self.plan_.threads or 1
        )


def _dataset_of(
    images: NDArray[np.uint8] | None, columns: Columns | None, classes: NDArray[Any], labels: NDArray[np.intp]
) -> Dataset:
    if len(classes) < 2:
        given = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}"
        raise ValueError(f"y has {given}; expected at least 2; add rows of another class.")
    return Dataset(
        name="X",
        kind="table" if images is None else "image",
        labels=labels.astype(np.int64),
        class_names=tuple(str(name) for name in classes),
        content_hash="",
        row_names=[""] * len(labels),
        images=images,
        table=None if columns is None else to_table(columns),
    )


def _check_length(settings: Mapping[str, Any]) -> None:
    given, epochs = [name for name in _LENGTHS if settings[name] is not None], settings["epochs"]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are given; expected one of them; leave the others out.")
    if epochs is not None and not (isinstance(epochs, int) and epochs > 0):
        raise ValueError(f"epochs is {epochs!r}; expected a whole number above 0; change it or leave it out.")


def _are_pictures(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.dtype == np.uint8 and X.ndim == 4 and X.shape[3] in (1, 3) and X.size > 0


def _kinds(encoder: TableEncoder) -> dict[str, Kind]:
    """Return what each column held when the encoder was fitted."""
    return {column.name: "number" if isinstance(column, NumberEncoding) else "category" for column in encoder.columns}


def _plain(value: Any) -> Any:
    """Return NumPy's scalars, which a parameter grid may hold, as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed: the number itself, or one drawn from the generator."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def _value_errors() -> Iterator[None]:
    """Raise what trimtab says of data and settings as the errors that scikit-learn's tools expect."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from error
