"""YAMNet: a sound tower trained WITH labels, the teacher of `soundspot.distill`.

MobileNet v1 (Howard et al., 2017) on log-mel windows of 0.975 s, trained on the 521 classes of
AudioSet (Hershey et al., ICASSP 2017; weights: TensorFlow models, Apache-2.0). Whatever is
built on it, or distilled from it, has seen labels and must say so.

The weights are not part of this package. `read_yamnet` reads a safetensors file with
`body.{i}.w`, `body.{i}.b` (27 convolutions, batch norm folded in), `fc.weight`, `fc.bias`,
`mel` (64 bands x 257 bins) and `melb` (the offset before the logarithm).
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from soundspot.errors import CheckpointError
from soundspot.towers.efficientnet_lite import SameConv

SAMPLE_RATE = 16_000
"""Hz."""
WINDOW = 15_600
"""Samples of one window: 96 frames, 0.975 s."""
WINDOW_HOP = 7_800
"""Samples from one window to the next, as published."""
FRAME, FRAME_HOP, FFT_SIZE = 400, 160, 512
"""Samples: 25 ms, 10 ms."""
BANDS = 64
CLASSES = 521
FEATURES = 1024

STEM_CHANNELS = 32
# (stride, channels out) of the 13 depthwise separable blocks, table 1 of the MobileNet paper
BLOCKS = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *((1, 512),) * 5,
    (2, 1024),
    (1, 1024),
)


class YAMNet(nn.Module):
    """Waveform in [-1, 1] at 16 kHz to the embeddings of windows.

    Shape: `b samples` -> `b 1024 windows`; a shorter sound is padded with zeros to one window,
    and samples that do not fill a last window are left out.
    """

    sample_rate = SAMPLE_RATE
    features = FEATURES
    mel: Tensor
    melb: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers, channels = [SameConv(1, STEM_CHANNELS, 3, 2)], STEM_CHANNELS
        for stride, out in BLOCKS:
            layers.append(SameConv(channels, channels, 3, stride, groups=channels))
            layers.append(SameConv(channels, out, 1))
            channels = out
        self.body = nn.ModuleList(layers)
        self.fc = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("mel", torch.zeros(BANDS, FFT_SIZE // 2 + 1))
        self.register_buffer("melb", torch.ones(BANDS))
        self.register_buffer("window", torch.hann_window(FRAME), persistent=False)

    def log_mel(self, windows: Tensor) -> Tensor:
        """Shape: `n 15600` -> `n 96 64`; float32, also under autocast."""
        with torch.autocast(windows.device.type, enabled=False):
            frames = windows.float().unfold(-1, FRAME, FRAME_HOP) * self.window
            return torch.log(torch.fft.rfft(frames, FFT_SIZE).abs() @ self.mel.T + self.melb)

    def forward(self, sounds: Tensor, hop: int = WINDOW_HOP) -> Tensor:
        """Embed windows that start `hop` samples apart."""
        sounds = F.pad(sounds, (0, max(0, WINDOW - sounds.shape[-1])))
        windows = sounds.unfold(-1, WINDOW, hop)
        x = self.log_mel(windows.flatten(0, 1))[:, None]
        for layer in self.body:
            x = F.relu6(layer(x))
        embeddings = x.mean((2, 3)).view(*windows.shape[:2], FEATURES)
        return embeddings.transpose(1, 2)

    def logits(self, features: Tensor) -> Tensor:
        """Log odds of the 521 classes: `b 1024 windows` -> `b 521 windows`."""
        odds: Tensor = self.fc(features.transpose(1, 2))
        return odds.transpose(1, 2)


def full_name(short: str) -> str:
    """Spell out a name of the file: `body.0.w` -> `body.0.weight`."""
    return re.sub(r"\.b$", ".bias", re.sub(r"\.w$", ".weight", short))


def read_yamnet(path: Path) -> YAMNet:
    """Build YAMNet from its safetensors file, in evaluation mode."""
    net = YAMNet()
    try:
        net.load_state_dict({full_name(k): v.float() for k, v in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: not a readable YAMNet file ({reason}); "
            "expected safetensors with body.*, fc.*, mel and melb"
        ) from None
    return net.eval()
