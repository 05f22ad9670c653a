"""Test suites that others wrote, run through the layers of ``trimtab.numpy_nn``.

``outcome`` holds what every suite shares, ``onnx_*`` ONNX's backend tests, ``torch_*`` PyTorch's own samples and
``report`` the table of results. The command ``python -m tests.numpy_nn.conformance`` runs all and writes the table.
"""
