"""A trained model as dependency-free C: one source file and its header.

Generating needs the artifact and NumPy alone; neither torch nor onnx nor a compiler.
"""

from trimtab.deployment.c.lowering import to_program
from trimtab.deployment.c.program import Program
from trimtab.deployment.c.source import Source, identifier, kernels, write_source

__all__ = ["Program", "Source", "identifier", "kernels", "to_program", "write_source"]
