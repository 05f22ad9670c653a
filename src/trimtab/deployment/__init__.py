"""From a trained artifact to something that runs elsewhere: export, parity, bundle, predictor, server.

Importing the room imports neither onnx nor onnxruntime; the functions that need them do.
"""

from trimtab.deployment.bundle import find_bundle, read_manifest, write_bundle
from trimtab.deployment.export import export_onnx
from trimtab.deployment.loading import load
from trimtab.deployment.parity import ParityReport, parity
from trimtab.deployment.predictor import Predictor
from trimtab.deployment.server import create_app, serve

__all__ = [
    "ParityReport",
    "Predictor",
    "create_app",
    "export_onnx",
    "find_bundle",
    "load",
    "parity",
    "read_manifest",
    "serve",
    "write_bundle",
]
