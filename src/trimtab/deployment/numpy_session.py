"""A delivered model in NumPy: the network of a bundle's artifact, behind the same door as the ONNX file.

Preprocessing included; neither ONNX Runtime nor safetensors is needed, nor Pillow where pictures come as arrays.

Legend: ``N`` examples, ``H W C`` height, width, channels, ``S`` the network's picture size, ``F`` features, ``K``
classes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.data.encoding import NumberEncoding, TableEncoder
from trimtab.data.images import resize_image
from trimtab.data.schema import Table
from trimtab.deployment.signature import describe_inputs, name_input
from trimtab.errors import IntegrityError
from trimtab.models import build
from trimtab.numpy_nn import folding, quantized

Feeds = Mapping[str, NDArray[Any]]

_ALONE = threading.Lock()  # the number of threads is set for the whole process


@final
class NumpySession:
    """A loaded artifact, float or int8; what `trimtab.deployment.session.Session` is for an ONNX file.

    Parameters
    ----------
    artifact
        The model.
    threads
        Parts that a batch is cut into; a small one is not. Calls from several threads wait for each other.

    Raises
    ------
    ValueError
        If ``threads`` is below one.
    IntegrityError
        If the arrays or the preprocessing are not those of the artifact's builder.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; expected at least 1; see trimtab.machine.available_threads().")
        self._threads = threads
        try:
            self._network, self._num_classes = _network(artifact), len(artifact.meta["class_names"])
            self._temperature, self._has_mirror = _temperature(artifact.meta), artifact.has_mirror
            self._prepare = _preprocessing(artifact.meta)
            self.input_names: tuple[str, ...] = tuple(spec.name for spec in describe_inputs(artifact.meta))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise IntegrityError(
                f"the artifact is no '{artifact.builder}' that can be built ({_first_part(error)})",
                "exactly the arrays that the builder makes with its keyword arguments, and the preprocessing",
                "copy it again from where it was made",
            ) from error

    def run(self, feeds: Feeds) -> NDArray[np.float32]:
        """Return the probabilities [N, K] for one array per input name.

        Raises
        ------
        ValueError
            If an array is missing.
        """
        missing = [name for name in self.input_names if name not in feeds]
        if missing:
            raise ValueError(f"the feeds lack '{missing[0]}'; expected an array for each input; see `input_names`.")
        features = self._prepare(feeds)
        if not len(features):
            return np.empty((0, self._num_classes), np.float32)
        with _ALONE, numpy_nn.threads(self._threads), numpy_nn.inference():
            probabilities: NDArray[np.float32] = numpy_nn.softmax(self._logits(features) / self._temperature)
        return probabilities

    def _logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return [N, K], where the model says so the mean of those of the pictures and of their mirror images."""
        both = np.concatenate([features, features[..., ::-1]]) if self._has_mirror else features
        logits: NDArray[np.float32] = self._network(both)
        return logits.reshape(2, len(features), -1).mean(axis=0) if self._has_mirror else logits


def _network(artifact: Artifact) -> numpy_nn.Sequential:
    """Return the network ready to predict, in the numbers that the artifact holds."""
    network: numpy_nn.Module = build(numpy_nn, artifact.builder, artifact.kwargs)
    if "quantization" in artifact.meta:
        return quantized.assemble(network, artifact.arrays, artifact.meta["quantization"]["activations"])
    counters = {key: value for key, value in network.state_dict().items() if key.endswith(".num_batches_tracked")}
    network.load_state_dict(counters | artifact.arrays)  # counters count training steps: a prediction needs none
    return folding.fold(network)


def _temperature(meta: Mapping[str, Any]) -> np.float32:
    """Return what the logits are divided by; 1 where nothing is said."""
    temperature = np.float32(meta.get("temperature", 1.0))
    if not 0 < temperature < np.inf:
        raise ValueError(f"the temperature is {temperature}; expected a number above 0")
    return temperature


def _preprocessing(meta: Mapping[str, Any]) -> Callable[[Feeds], NDArray[np.float32]]:
    """Return what makes network inputs of feeds, as the ONNX graph does: [N, C, S, S] or [N, F]."""
    if meta["kind"] == "image":
        size = int(meta["image_size"])
        mean, std = ((255 * np.array(meta[key], np.float64)).astype(np.float32) for key in ("mean", "std"))
        return lambda feeds: _normalize(feeds["image"], size, mean, std)
    encoder = TableEncoder.from_dict(meta["encoder"])
    return lambda feeds: _encode(encoder, feeds)


def encode_feeds(meta: Mapping[str, Any], feeds: Feeds) -> NDArray[np.float32]:
    """Return rows of a table, one array per column, as the network reads them: [N, F]."""
    return _encode(TableEncoder.from_dict(meta["encoder"]), feeds)


def _encode(encoder: TableEncoder, feeds: Feeds) -> NDArray[np.float32]:
    return encoder.encode(_to_table(encoder, feeds))


def _normalize(
    pictures: NDArray[np.uint8], size: int, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return uint8 [N, H, W, C] resized and normalized: float32 [N, C, S, S], still channels-last in memory."""
    if pictures.shape[1:3] != (size, size):
        resized = [resize_image(picture, size) for picture in pictures]
        pictures = np.stack(resized) if resized else np.empty((0, size, size, pictures.shape[3]), np.uint8)
    pixels = pictures.astype(np.float32)
    pixels -= mean
    pixels /= std
    return pixels.transpose(0, 3, 1, 2)


def _to_table(encoder: TableEncoder, feeds: Feeds) -> Table:
    columns = {}
    for column in encoder.columns:
        values = feeds[name_input(column.name)][:, 0]
        columns[column.name] = values.astype(np.float64) if isinstance(column, NumberEncoding) else values
    kinds = {column.name: "number" if isinstance(column, NumberEncoding) else "category" for column in encoder.columns}
    return Table(columns=columns, kinds=kinds)  # type: ignore[arg-type]


def _first_part(error: Exception) -> str:
    text = str(error).split("; ")[0]
    return f"there is no {text}" if isinstance(error, KeyError) else text or type(error).__name__
