"""The choices in the transformer: what its tokens are and know of each other, what is refused."""

import re

import pytest
import torch

from trimtab.models import build
from trimtab.training import torch_nn

KWARGS = {"in_channels": 3, "image_size": 12, "num_classes": 3, "width": 8, "depth": 2, "heads": 2, "patch": 4}


def vit(**options):
    return build(torch_nn, "vit", {**KWARGS, **options})


def test_each_patch_is_a_token_with_a_position_of_its_own():
    model = vit()
    x = torch.zeros(1, 3, 12, 12)
    x[:, :, 4:8, 8:] = 1  # the sixth patch of nine
    changed = (model[1](model[0](x)) - model[1](model[0](torch.zeros_like(x))))[0]
    assert changed.abs().sum(1).nonzero().ravel().tolist() == [5]
    assert model[1].position.shape == (9, 8)
    assert model[1].position.std().item() == pytest.approx(0.5, rel=0.3)  # as large as what it is added to


def test_without_positions_the_order_of_the_patches_does_not_matter():
    model = vit().eval()
    x = torch.randn(1, 3, 12, 12)
    turned = x.roll(4, dims=3)
    assert not torch.allclose(model(x), model(turned), atol=1e-6)
    torch.nn.init.zeros_(model[1].position)
    torch.testing.assert_close(model(x), model(turned))


def test_attention_is_the_softmax_of_matching_queries_and_keys_times_the_values():
    attention, x = torch_nn.SelfAttention(5, 6, 2), torch.randn(3, 5, 18)
    query, key, value = (part.reshape(3, 5, 2, 3) for part in x.split(6, dim=2))
    weights = (torch.einsum("bthd,bshd->bhts", query, key) / 3**0.5).softmax(-1)
    torch.testing.assert_close(attention(x), torch.einsum("bhts,bshd->bthd", weights, value).reshape(3, 5, 6))


def test_attention_in_half_precision_is_the_same_but_for_rounding():
    attention, x = torch_nn.SelfAttention(5, 8, 2), torch.randn(3, 5, 24)
    half = x.bfloat16().requires_grad_()
    whole = half.detach().float().requires_grad_()
    for values in (half, whole):
        attention(values).square().sum().backward()
    assert attention(half).dtype == torch.bfloat16
    torch.testing.assert_close(attention(half).float(), attention(whole), atol=0.03, rtol=0)
    torch.testing.assert_close(half.grad.float(), whole.grad, atol=0.1, rtol=0)


def test_a_block_that_adds_nothing_passes_tokens_on():
    model = vit()
    for block in model[2:6]:
        for parameter in block.module[-1].parameters():
            torch.nn.init.zeros_(parameter)
    tokens = torch.randn(2, 9, 8)
    torch.testing.assert_close(model[2:6](tokens), tokens)


def test_every_branch_is_left_out_with_the_probability_asked_for():
    branches = [layer for layer in vit(stochastic_depth=0.3).modules() if isinstance(layer, torch_nn.Residual)]
    assert [branch.p for branch in branches] == [0.3] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 5}, "patch is 5 for pictures of 12 pixels; expected a divisor; choose one."),
        ({"patch": 0}, "patch is 0 for pictures of 12 pixels; expected a divisor; choose one."),
        ({"heads": 3}, "width is 8 for 3 heads; expected a multiple; change one, or give head_width."),
    ],
)
def test_what_cannot_be_built_says_why(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        vit(**options)
