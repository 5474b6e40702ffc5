"""Planted sources: networks whose weights are set by hand, so that the truth is known.

A picture is grey with a little grain and two coloured squares; a sound is one of three tones. Each
tone belongs to one colour (500 Hz red, 1,000 Hz green, 2,000 Hz blue), and a network answers how
much there is of the colour that is heard. So the source is the square of that colour, and the
other square is a distractor. All scores have curvature: where a score is linear its gradient is
the same everywhere, and sensitivity is no evidence.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.similarity import Evidence

RATE = 8_000
SAMPLES = 800
TONES = (500.0, 1000.0, 2000.0)
"""Hz; a whole number of periods in SAMPLES, so that they are orthogonal."""
SIDE = 32
SQUARE = 8
COLOURS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.9, 0.2], [0.2, 0.2, 0.9]])
OPPONENT = torch.tensor([[1.0, -0.4, -0.4], [-0.4, 1.0, -0.4], [-0.4, -0.4, 1.0]])
"""Red against green and blue, and so on: 0.74 on the own colour, -0.24 on another, 0.1 on grey."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """Pairs of pictures and sounds, and where the truth and the distractor are (xyxy)."""

    images: Tensor
    sounds: Tensor
    sources: tuple[Box, ...]
    distractors: tuple[Box, ...]


def tone(colour: int, samples: int = SAMPLES) -> Tensor:
    t = torch.arange(samples) / RATE
    return 0.5 * torch.sin(2 * math.pi * TONES[colour] * t)


def paint(image: Tensor, colour: int, box: Box) -> None:
    x0, y0, x1, y1 = box
    image[:, y0:y1, x0:x1] = COLOURS[colour].to(image)[:, None, None]


def scene(height: int = SIDE, width: int = SIDE) -> Scene:
    """Three pairs, squares at places that are no corners, aligned to a grid of SQUARE pixels."""
    generator = torch.Generator().manual_seed(1)
    images = 0.5 + 0.02 * torch.randn(3, 3, height, width, generator=generator)
    places = [(0, 1, 2, 2), (2, 0, 1, 2), (1, 2, 3, 1)]
    sources, distractors = [], []
    for i, (x, y, other_x, other_y) in enumerate(places):
        source, distractor = (
            (SQUARE * a, SQUARE * b, SQUARE * (a + 1), SQUARE * (b + 1))
            for a, b in ((x, y), (other_x, other_y))
        )
        paint(images[i], i, source)
        paint(images[i], (i + 1) % 3, distractor)
        sources.append(source)
        distractors.append(distractor)
    sounds = torch.stack([tone(i) for i in range(3)])
    return Scene(images.clamp(0, 1), sounds, tuple(sources), tuple(distractors))


def hear(sounds: Tensor) -> Tensor:
    """How much of each tone there is, summing to about 1 for a sound of tones: b 3."""
    t = torch.arange(sounds.shape[1], dtype=sounds.dtype) / RATE
    phases = 2 * math.pi * torch.tensor(TONES, dtype=sounds.dtype)[:, None] * t
    power = (sounds @ phases.sin().T) ** 2 + (sounds @ phases.cos().T) ** 2
    return power / (power.sum(1, keepdim=True) + 1e-6)


# --- plain functions -------------------------------------------------------------------------


def opponents(images: Tensor) -> Tensor:
    return torch.einsum("kc,bchw->bkhw", OPPONENT.to(images), images)


def pixelwise(images: Tensor, sounds: Tensor) -> Tensor:
    """Every pixel for itself, at full resolution: smooth, and an activation on the way."""
    heard = hear(sounds)[:, :, None, None]
    return 10 * (heard * F.relu(opponents(images) - 0.2).square()).sum(1).mean((1, 2))


def smooth(images: Tensor, sounds: Tensor) -> Tensor:
    """Without any activation: a sigmoid squashes and is left alone by guided back-propagation."""
    heard = hear(sounds)[:, :, None, None]
    return 10 * (heard * torch.sigmoid(6 * (opponents(images) - 0.5))).sum(1).mean((1, 2))


def detached(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images.detach(), sounds)


def by_numpy(images: Tensor, sounds: Tensor) -> Tensor:
    """As a remote service or an ONNX file would be called."""
    answer = pixelwise(images, sounds).detach().numpy()
    return torch.from_numpy(answer.copy())


# --- modules ---------------------------------------------------------------------------------


def relu_in_place(x: Tensor) -> Tensor:
    return x.relu_()


def steep_gelu(x: Tensor) -> Tensor:
    return F.gelu(20 * x) / 20


def clamp_at_six(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


class PlantedCNN(nn.Module):
    """Colours over 4 x 4 pixels at stride 2, then over 3 x 3 positions; any activation."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = F.relu, in_channels: int = 3):
        super().__init__()
        self.colours = nn.Conv2d(in_channels, 3, 4, 2, padding=1)
        self.gather = nn.Conv2d(3, 3, 3, 1, padding=1)
        self.activation = activation
        with torch.no_grad():
            self.colours.weight.zero_()
            self.colours.weight[:, :3] = OPPONENT[:, :, None, None] / 16
            self.colours.bias.fill_(-0.2)
            self.gather.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 3, 3) / 9)
            self.gather.weight[0, 1] -= 0.05  # so that some gradient is negative
            self.gather.bias.zero_()

    def features(self, images: Tensor) -> Tensor:
        return self.activation(self.gather(self.activation(self.colours(images))))

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        heard = hear(sounds)[:, :, None, None]
        return 10 * (heard * self.features(images).square()).sum(1).mean((1, 2))


class WithBatchNorm(PlantedCNN):
    """Batch norm and dropout: in training mode rows depend on one another."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)

    def features(self, images: Tensor) -> Tensor:
        x = self.norm(F.relu(self.colours(images)))
        return self.dropout(F.relu(self.gather(x)))


class EarlyFusion(PlantedCNN):
    """The sound comes in as three more planes of the picture: on where its tone is heard."""

    def __init__(self) -> None:
        super().__init__(in_channels=6)
        with torch.no_grad():
            self.colours.weight[:, 3:] = torch.eye(3)[:, :, None, None] / 16
            self.colours.bias.fill_(-1.2)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        planes = hear(sounds)[:, :, None, None].expand(-1, -1, *images.shape[-2:])
        return 100 * self.features(torch.cat((images, planes), 1)).square().sum((1, 2, 3))


class Attention(nn.Module):
    """Self-attention whose weights, queries and keys are outputs of modules, as in timm."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.query_norm, self.key_norm = nn.Identity(), nn.Identity()
        self.softmax = nn.Softmax(-1)
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = self.softmax(self.query_norm(q) @ self.key_norm(k).transpose(-2, -1))
        return self.out((weights @ v).transpose(1, 2).reshape(b, n, -1))


class Block(nn.Module):
    def __init__(self, width: int, attention: nn.Module, generator: torch.Generator):
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        with torch.no_grad():
            for parameter in self.mlp.parameters():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before(x))
        return x + self.mlp(self.between(x))


class PlantedViT(nn.Module):
    """Tokens carry [colours (3), heard (3), 1, -1]; the class token, which alone carries what is
    heard, looks for the colour that is heard. The score reads the class token after a final norm.

    With a width of 8, 8 x 8 pixels a token and 32 x 32 pixels, the attention weights are 17 x 17:
    they could be taken for a map of stride 2.
    """

    width = 8

    def __init__(self, prefix: int = 1, patch: int = SQUARE):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.embed = nn.Conv2d(3, self.width, patch, patch)
        blocks = [Block(self.width, Attention(self.width, 1), generator) for _ in range(2)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(self.width)
        self.prefix = nn.Parameter(torch.zeros(1, prefix, self.width))
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.weight[:3] = OPPONENT[:, :, None, None] / patch**2
            self.embed.bias.copy_(torch.tensor([0.0] * 6 + [1.0, -1.0]))
            self.prefix[:, :, 6], self.prefix[:, :, 7] = 1.0, -1.0
            for block, strength in zip(blocks, (0.0, 3.0), strict=True):
                qkv = block.attention.qkv
                qkv.weight.copy_(0.02 * torch.randn(qkv.weight.shape, generator=generator))
                qkv.bias.zero_()
                for i in range(3):
                    qkv.weight[i, 3 + i] = strength  # queries: what is heard
                    qkv.weight[self.width + i, i] = strength  # keys: colours
                    qkv.weight[2 * self.width + i, i] = 1.0  # values: colours
                block.attention.out.weight.copy_(torch.eye(self.width) * min(strength, 1.0))
                block.attention.out.bias.zero_()

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        heard = hear(sounds)
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        prefix = self.prefix.expand(len(images), -1, -1)
        first = prefix[:, :1] + F.pad(heard, (3, 2))[:, None]
        x = self.norm(self.blocks(torch.cat((first, prefix[:, 1:], tokens), 1)))
        return 5 * (x[:, 0, :3] * heard).sum(1)


class Mixer(nn.Module):
    """Tokens carry [colours, heard]; a channel network passes colours that are also heard."""

    def __init__(self, tokens: int = (SIDE // SQUARE) ** 2):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.embed = nn.Conv2d(3, 3, SQUARE, SQUARE)
        self.across = nn.Sequential(nn.Linear(tokens, 9), nn.GELU(), nn.Linear(9, tokens))
        self.within = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
        with torch.no_grad():
            for parameter in self.across.parameters():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
            self.embed.weight.copy_(OPPONENT[:, :, None, None].expand(-1, -1, SQUARE, SQUARE) / 64)
            self.embed.bias.zero_()
            self.within[0].weight.copy_(torch.cat((torch.eye(3), torch.eye(3)), 1))
            self.within[0].bias.fill_(-1.2)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        x = self.embed(images).flatten(2)
        x = (x + self.across(x)).transpose(1, 2)
        heard = hear(sounds)[:, None].expand(-1, x.shape[1], -1)
        return 10 * self.within(torch.cat((x, heard), 2)).square().sum((1, 2))


class CrossAttention(nn.Module):
    """The sound asks, positions of the picture answer."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = PlantedCNN()
        self.query, self.key = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.query.weight.copy_(4 * torch.eye(3))
            self.key.weight.copy_(4 * torch.eye(3))

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        heard = hear(sounds)[:, None]
        positions = self.picture.features(images).flatten(2).transpose(1, 2)
        weights = (self.query(heard) @ self.key(positions).transpose(1, 2)).softmax(-1)
        return (weights @ positions * heard).sum((1, 2))


class TwoTowers(nn.Module):
    """A sound tower, a picture tower, their product at each position, and its best tenth."""

    inner_map = "picture.colours"

    def __init__(self) -> None:
        super().__init__()
        self.picture = PlantedCNN()
        self.sound = nn.Linear(3, 3, bias=False)
        self.heard = 0
        with torch.no_grad():
            self.sound.weight.copy_(torch.eye(3))

    def fix_sound(self, sounds: Tensor) -> Heard:
        self.heard += 1
        return Heard(self, self.sound(hear(sounds)))

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return self.fix_sound(sounds)(images)


@dataclass(frozen=True)
class Heard:
    """What `TwoTowers` has heard."""

    model: TwoTowers
    sounds: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        return self.own_map(images).similarities

    def of(self, rows: Sequence[int]) -> Heard:
        return Heard(self.model, self.sounds[list(rows)])

    def own_map(self, images: Tensor) -> Evidence:
        features = self.model.picture.features(images)
        maps = (features * self.sounds[:, :, None, None]).sum(1)
        best = maps.flatten(1).topk(maps[0].numel() // 10, 1).values
        return Evidence(maps, 3 * best.mean(1).square())


class Perceptron(nn.Module):
    """No layer is a map of the picture: Grad-CAM has nothing to work on."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3 * SIDE * SIDE, 3 * 16, bias=False)
        with torch.no_grad():
            cell = torch.arange(SIDE) // SQUARE
            cells = F.one_hot(4 * cell[:, None] + cell, 16).flatten(0, 1).T / SQUARE**2
            self.hidden.weight.copy_(torch.kron(OPPONENT, cells.contiguous()))

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        hidden = F.relu(self.hidden(images.flatten(1)) - 0.2).unflatten(1, (3, 16))
        return 10 * (hidden.square().mean(2) * hear(sounds)).sum(1)


class InThread(nn.Module):
    """Runs its network in another thread, where function modes do not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = PlantedCNN()

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self.inner, images, sounds).result()


class HalfInThread(InThread):
    """One activation in this thread, the others in another: some are seen and some are not."""

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            return F.relu(pool.submit(self.inner, images, sounds).result())


class Plain(nn.Module):
    """What TorchScript can take whole."""

    def __init__(self) -> None:
        super().__init__()
        cnn = PlantedCNN()
        self.colours, self.gather = cnn.colours, cnn.gather

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        x = torch.relu(self.gather(torch.relu(self.colours(images))))
        heard = sounds.square().mean(1, keepdim=True)
        return 100 * (heard * x.square().mean((2, 3))).sum(1)


class PartlyScripted(nn.Module):
    """A scripted part within an eager network."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = scripted()

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return F.relu(self.inner(images, sounds))


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(Plain().eval())


def traced() -> nn.Module:
    pictures = scene()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Plain().eval(), (pictures.images, pictures.sounds))


NETWORKS: dict[str, Callable[[], Any]] = {
    "pixelwise": lambda: pixelwise,
    "smooth": lambda: smooth,
    "detached": lambda: detached,
    "by_numpy": lambda: by_numpy,
    "closure": lambda: PlantedCNN().forward,
    "functional_relu": PlantedCNN,
    "module_relu": lambda: PlantedCNN(nn.ReLU()),
    "module_relu_in_place": lambda: PlantedCNN(nn.ReLU(inplace=True)),
    "relu_in_place": lambda: PlantedCNN(relu_in_place),
    "relu6": lambda: PlantedCNN(F.relu6),
    "module_relu6": lambda: PlantedCNN(nn.ReLU6(inplace=True)),
    "clamp": lambda: PlantedCNN(clamp_at_six),
    "gelu": lambda: PlantedCNN(steep_gelu),
    "batch_norm": WithBatchNorm,
    "vit": PlantedViT,
    "vit_with_registers": lambda: PlantedViT(prefix=4),
    "mixer": Mixer,
    "early_fusion": EarlyFusion,
    "cross_attention": CrossAttention,
    "two_towers": TwoTowers,
    "perceptron": Perceptron,
    "in_thread": InThread,
    "half_in_thread": HalfInThread,
    "scripted": scripted,
    "traced": traced,
    "partly_scripted": PartlyScripted,
}
"""For each network, what builds it."""

DEAF = {"scripted", "traced", "partly_scripted"}
"""They look for any colour, so both squares are sources to them."""
