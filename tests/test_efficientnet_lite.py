"""The picture tower's convolutions, against the padding that they are defined by."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from soundspot.towers.efficientnet_lite import EfficientNetLite0, SameConv, rectified

ONE, FEW, MANY = 1, 2, 16
"""Pictures: torch computes 1 x 1 convolutions of these in different ways."""


def same(conv: SameConv, x: Tensor) -> Tensor:
    """TensorFlow's SAME, spelt out: zeros around the input, more of them behind than before."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), conv.weight, conv.bias, conv.stride, groups=conv.groups)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_is_tensorflows(kernel: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    conv = SameConv(2, 4, kernel, stride, groups=2)
    for height, width in itertools.product((1, 2, 5, 8), (1, 4, 7)):
        x = torch.randn(FEW, 2, height, width, generator=generator)
        torch.testing.assert_close(conv(x), same(conv, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [ONE, FEW, MANY])
def test_as_many_pictures_as_may_be(count: int) -> None:
    """Values and gradients of 1 x 1 convolutions are those of a matrix product."""
    x = torch.randn(count, 8, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    conv = SameConv(8, 6, 1, bias=False)
    expected = torch.einsum("oc,bchw->bohw", conv.weight.flatten(1), x)
    torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(y.square().sum(), x)[0] for y in (conv(x), expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_rectified_in_place_only_where_nobody_minds() -> None:
    whole = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last) - 1
    part, kept = whole[:, :, 1:, 1:], whole.clone()
    assert torch.equal(rectified(part), F.relu6(part))
    wanted = kept.clone().requires_grad_()
    assert torch.equal(rectified(wanted), F.relu6(wanted))
    assert torch.equal(whole, kept)
    assert torch.equal(wanted, kept)
    spare = kept.clone(memory_format=torch.preserve_format)
    assert rectified(spare).data_ptr() == spare.data_ptr()


def test_without_gradients_the_answer_is_the_same() -> None:
    torch.manual_seed(0)
    tower = EfficientNetLite0().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(FEW, 3, 70, 95)
    before, learned = images.clone(), tower(images)
    with torch.no_grad():
        plain = tower(images)
    assert [tuple(part.shape) for part in plain] == [(2, 112, 5, 6), (2, 1280, 3, 3)]
    assert torch.equal(images, before)
    for one, other in zip(learned, plain, strict=True):
        torch.testing.assert_close(one, other)
