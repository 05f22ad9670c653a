import copy

import pytest
import torch

from trimtab.training.distributed.batch_norm import SynchronizedBatchNorm, synchronize_batch_norms
from trimtab.training.torch_nn import ShiftNorm2d

LAYERS = {
    "pictures": (lambda: torch.nn.BatchNorm2d(5), (7, 5, 4, 4)),
    "tables": (lambda: torch.nn.BatchNorm1d(5), (7, 5)),
    "no scale, no shift": (lambda: torch.nn.BatchNorm2d(5, affine=False), (7, 5, 4, 4)),
    "shift only": (lambda: ShiftNorm2d(5), (7, 5, 4, 4)),
    "cumulative": (lambda: torch.nn.BatchNorm2d(5, momentum=None), (7, 5, 4, 4)),
    "no running statistics": (lambda: torch.nn.BatchNorm2d(5, track_running_stats=False), (7, 5, 4, 4)),
}


def passes(model, rows, grad):
    """Outputs and gradients of two passes, and what is remembered of them."""
    found = []
    for _ in range(2):
        rows = rows.detach().clone().requires_grad_()
        model.zero_grad()
        output = model(rows)
        output.backward(grad.to(output.dtype))
        found += [output.detach(), rows.grad, *(parameter.grad.clone() for parameter in model.parameters())]
    return found + [buffer.clone() for buffer in model.buffers()]


@pytest.mark.usefixtures("lonely")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_with_one_worker_it_is_torchs_own_layer(name, dtype, tolerance, memory_format):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    rows, grad = 3 * torch.randn(shape) + 2, torch.randn(shape)
    if rows.ndim == 4:
        rows = rows.to(memory_format=memory_format)
    plain = torch.nn.Sequential(make())
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter)
    together = copy.deepcopy(plain)
    synchronize_batch_norms(together)
    for found, expected in zip(
        passes(together, rows.to(dtype), grad), passes(plain, rows.to(dtype), grad), strict=True
    ):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_names_memory_and_evaluation_stay():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sequential(torch.nn.BatchNorm1d(4))).eval()
    model[1][0].running_mean.fill_(0.5)
    before, rows = model.state_dict(), torch.randn(6, 3)
    expected = model(rows)
    synchronize_batch_norms(model)
    assert isinstance(model[1][0], SynchronizedBatchNorm)
    assert list(model.state_dict()) == list(before)
    assert all(value.data_ptr() == before[name].data_ptr() for name, value in model.state_dict().items())
    assert torch.equal(model(rows), expected)
    assert all(found is value for found, value in zip(model.parameters(), model.parameters(), strict=True))
