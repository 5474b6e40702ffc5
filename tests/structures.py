"""Networks of every structure that people bring, small, with random or planted weights.

What sounds in a picture is asked of residual networks, transformers, mixers, black boxes and plain
functions in the same words; `STRUCTURES` lists one of each, with what pairs it is asked about.
`planted.py` holds the networks whose every weight is set by hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planted import (
    OPPONENT,
    SIDE,
    SQUARE,
    CrossAttention,
    InThread,
    Mixer,
    PlantedCNN,
    PlantedViT,
    Scene,
    by_numpy,
    detached,
    hear,
    pixelwise,
    relu_in_place,
    scene,
    smooth,
    traced,
)
from soundspot.facts import ModelFacts
from soundspot.models import MODELS

NOISE = 0.1
"""Of the residual network's weights: what disturbs, so that some gradients are negative."""
OWN_SIDE, OWN_SAMPLES = 64, 16_000
"""What the package's models are asked about here: a small picture and one second."""

# --- a residual network, as torchvision spells it -----------------------------------------------


class BasicBlock(nn.Module):
    """Two convolutions beside a short cut (He et al., CVPR 2016); one activation, used twice."""

    def __init__(self, before: int, width: int, stride: int, activation: Any):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.activation = activation
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != width:
            shortcut = nn.Conv2d(before, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.activation(self.bn1(self.conv1(x)))
        return self.activation(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet-18 that finds the colour that is heard: short cuts carry it, branches disturb it.

    Args:
        activation: makes the activation of a block; a module or a function.
        widths: channels of the four stages.
    """

    def __init__(
        self,
        activation: Callable[[], Any] = nn.ReLU,
        widths: tuple[int, ...] = (8, 8, 12, 16),
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.activation = activation()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        blocks: list[nn.Module] = []
        for before, width in zip((widths[0], *widths), widths, strict=False):
            stride = 1 if not blocks else 2
            blocks += [
                BasicBlock(before, width, stride, activation()),
                BasicBlock(width, width, 1, activation()),
            ]
        self.layers = nn.Sequential(*blocks)
        self.fc = nn.Linear(widths[-1], 3)
        self._plant()

    @torch.no_grad()
    def _plant(self) -> None:
        generator = torch.Generator().manual_seed(4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                noise = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(NOISE * noise / module.weight[0].numel() ** 0.5)
            elif isinstance(module, nn.BatchNorm2d):
                module.running_mean[3:] = 0.1 * torch.randn(
                    module.num_features - 3, generator=generator
                )
                module.running_var.uniform_(0.8, 1.25, generator=generator)
        for block in self.layers:
            if isinstance(block.downsample, nn.Sequential):
                block.downsample[0].weight[:3] += (
                    0.2 * torch.eye(3, block.conv1.in_channels)[:, :, None, None]
                )
                block.conv1.weight[:3, :3] += torch.eye(3)[:, :, None, None] / 9
                block.conv2.weight[:3, :3, 1, 1] += torch.eye(3)
        self.conv1.weight[:3] += OPPONENT[:, :, None, None] / 49
        self.bn1.bias[:3] = -0.2
        self.fc.weight.copy_(torch.eye(3, self.fc.in_features))
        self.fc.bias.zero_()

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        x = self.maxpool(self.activation(self.bn1(self.conv1(images))))
        x = self.fc(self.layers(x).mean((2, 3)))
        return 10 * (hear(sounds) * x).sum(1).square()


# --- transformers -------------------------------------------------------------------------------


class TorchViT(nn.Module):
    """A vision transformer of torch's own layers, its class token against the sound's embedding."""

    def __init__(self, activation: Any = F.gelu, width: int = 16):
        super().__init__()
        torch.manual_seed(6)
        self.embed = nn.Conv2d(3, width, SQUARE, SQUARE)
        self.prefix = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, (SIDE // SQUARE) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, 2, 2 * width, 0.1, activation, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.sound = nn.Linear(3, width)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        tokens = self.embed(4 * (images - 0.5)).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.prefix.expand(len(images), -1, -1), tokens), 1) + self.places
        seen = self.norm(self.encoder(tokens))[:, 0]
        return 5 * F.cosine_similarity(seen, self.sound(hear(sounds)))


class FusionTransformer(nn.Module):
    """Moments of the sound ask tokens of the picture, in torch's decoder layers; one unit answers.

    No towers, no embeddings: whether picture and sound belong together is read from the fused
    tokens.
    """

    def __init__(self, activation: Any = F.gelu, width: int = 16, moment: int = 100):
        super().__init__()
        torch.manual_seed(7)
        self.moment = moment
        self.embed = nn.Conv2d(3, width, SQUARE, SQUARE)
        self.listen = nn.Linear(moment, width)
        layer = nn.TransformerDecoderLayer(width, 2, 2 * width, 0.1, activation, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.belongs = nn.Linear(width, 1)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        tokens = self.embed(4 * (images - 0.5)).flatten(2).transpose(1, 2)
        moments = self.listen(4 * sounds.unfold(1, self.moment, self.moment))
        return self.belongs(self.decoder(moments, tokens).mean(1))[:, 0]


class ClipClap(nn.Module):
    """CLIP's picture tower and CLAP's sound tower as `transformers` builds them, untrained."""

    FRAMES, BANDS = 64, 16

    def __init__(self, hidden_act: str = "quick_gelu"):
        super().__init__()
        import transformers

        torch.manual_seed(8)
        self.picture = transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(
                hidden_size=16, intermediate_size=32, projection_dim=8, num_hidden_layers=2,
                num_attention_heads=2, image_size=SIDE, patch_size=SQUARE, hidden_act=hidden_act,
            )
        )  # fmt: skip
        self.sound = transformers.ClapAudioModelWithProjection(
            transformers.ClapAudioConfig(
                spec_size=32, num_mel_bins=self.BANDS, patch_size=4, patch_stride=[4, 4],
                window_size=4, patch_embeds_hidden_size=8, hidden_size=16, projection_dim=8,
                depths=[1, 1], num_attention_heads=[1, 2], num_classes=4,
            )
        )  # fmt: skip
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 1:  # the configurations' own 0.02 leaves all pictures alike
                    nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        frames = sounds.unfold(1, 32, 12)[:, : self.FRAMES]
        power = torch.fft.rfft(frames * torch.hann_window(32).to(frames)).abs()
        features = (power[:, None, :, : self.BANDS] + 1e-3).log()
        heard = self.sound(input_features=features).audio_embeds
        seen = self.picture(pixel_values=4 * (images - 0.5)).image_embeds
        return 10 * F.cosine_similarity(seen, heard)


# --- functions and black boxes ------------------------------------------------------------------


def of_one_pair(image: Tensor, sound: Tensor) -> Tensor:
    """One picture, one sound, one number: `torch.vmap` makes a model of it."""
    heard = hear(sound[None])[0]
    colours = torch.einsum("kc,chw->khw", OPPONENT.to(image), image)
    return 10 * (heard[:, None, None] * F.relu(colours - 0.2).square()).sum(0).mean()


@torch.no_grad()
def without_gradients(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images, sounds)


def of_eight_bits(images: Tensor, sounds: Tensor) -> Tensor:
    """Pixels are rounded, as a picture file holds them: flat between steps."""
    return pixelwise((255 * images).round() / 255, sounds)


class Session:
    """What an inference engine hands out: arrays by name in, arrays out, one pair at a time."""

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["similarity"]
        images, sounds = (torch.from_numpy(feeds[name]) for name in ("images", "sounds"))
        assert len(images) == len(sounds) == 1, "exported for a batch of one"
        return [pixelwise(images, sounds).numpy()]


class BlackBox:
    """A session as a model, row by row, as one would call an ONNX file."""

    def __init__(self, session: Session):
        self.session = session

    def __call__(self, images: Tensor, sounds: Tensor) -> Tensor:
        rows = [
            self.session.run(["similarity"], {"images": image[None], "sounds": sound[None]})[0]
            for image, sound in zip(images.numpy(), sounds.numpy(), strict=True)
        ]
        return torch.from_numpy(np.concatenate(rows))


class Swish(torch.autograd.Function):
    """x sigmoid(x) with a backward pass of its own, to save memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.sigmoid() * (1 + x * (1 - x.sigmoid()))


def steep_swish(x: Tensor) -> Tensor:
    return Swish.apply(20 * x) / 20


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's activation, spelt out."""
    return (20 * x) * torch.sigmoid(1.702 * (20 * x)) / 20


def compiled(model: Any) -> Any:
    """By `torch.compile`, without its slow code generator."""
    torch._dynamo.reset()
    return torch.compile(model, backend="aot_eager")


def exported() -> Any:
    pictures = scene()
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            PlantedCNN().eval(), (pictures.images, pictures.sounds),
            dynamic_shapes=({0: batch}, {0: batch}),
        )  # fmt: skip
        return program.module()


# --- the package's own --------------------------------------------------------------------------


@cache
def own_scene() -> Scene:
    """Random pictures and three chords; where nothing is planted, there is nothing to find."""
    generator = torch.Generator().manual_seed(9)
    images = torch.rand(3, 3, OWN_SIDE, OWN_SIDE, generator=generator)
    t = torch.arange(OWN_SAMPLES) / OWN_SAMPLES
    chords = ((200, 300), (900, 1_500), (4_000, 6_000))
    sounds = [sum((2 * torch.pi * hertz * t).sin() for hertz in chord) for chord in chords]
    return Scene(images, 0.2 * torch.stack(sounds), (), ())


def own(name: str) -> nn.Module:
    """One of the package's models with random weights at which signals neither die nor explode."""
    generator = torch.Generator().manual_seed(10)
    facts = ModelFacts(name=name, size=OWN_SIDE, seconds=1.0)
    model: nn.Module = MODELS[name](facts=facts)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_((2 / parameter[0].numel()) ** 0.5 * noise)
    return model.eval()


# --- the list -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Structure:
    """One row of the table: what it is, what builds it, what pairs it is asked about.

    Args:
        what: for the table.
        build: makes the model.
        pairs: makes what it is asked about.
        planted: whether the source is planted, so that a map's peak is known.
        package: what must be installed beside the package.
    """

    what: str
    build: Callable[[], Any]
    pairs: Callable[[], Scene] = scene
    planted: bool = True
    package: str | None = None

    def is_available(self) -> bool:
        return self.package is None or find_spec(self.package) is not None


STRUCTURES: dict[str, Structure] = {
    **{
        name: Structure(f"`{name}`, of this package", lambda n=name: own(n), own_scene, False)
        for name in MODELS
    },
    "resnet18_functional": Structure(
        "ResNet-18, `F.relu`, batch norm", lambda: ResNet18(lambda: F.relu)
    ),
    "resnet18_module": Structure("ResNet-18, `nn.ReLU`", ResNet18),
    "resnet18_in_place": Structure(
        "ResNet-18, `nn.ReLU(inplace=True)`", lambda: ResNet18(lambda: nn.ReLU(inplace=True))
    ),
    "resnet18_tensor_method": Structure(
        "ResNet-18, `x.relu_()`", lambda: ResNet18(lambda: relu_in_place)
    ),
    "vit": Structure("ViT, attention in modules (as timm)", PlantedViT),
    "vit_registers": Structure("ViT with register tokens", lambda: PlantedViT(prefix=4)),
    "vit_torch": Structure("ViT of `nn.TransformerEncoder`", TorchViT, planted=False),
    "mixer": Structure("MLP-mixer", Mixer),
    "cross_attention": Structure("convolutions, then the sound attends to them", CrossAttention),
    "fusion_transformer": Structure(
        "fusion by cross-attention, `nn.TransformerDecoder`", FusionTransformer, planted=False
    ),
    "clip_clap": Structure(
        "CLIP picture + CLAP sound (`transformers`)", ClipClap,
        planted=False, package="transformers",
    ),
    "quick_gelu": Structure("CNN, x sigmoid(1.702 x) spelt out", lambda: PlantedCNN(quick_gelu)),
    "function": Structure("plain torch function", lambda: pixelwise),
    "function_smooth": Structure("plain torch function without activations", lambda: smooth),
    "function_vmap": Structure("`torch.vmap` of a function", lambda: torch.vmap(of_one_pair)),
    "function_compiled": Structure("`torch.compile` of a function", lambda: compiled(pixelwise)),
    "compiled": Structure("`torch.compile` of a module", lambda: compiled(PlantedCNN())),
    "traced": Structure("`torch.jit.trace`", traced, planted=False),
    "exported": Structure("`torch.export`", exported),
    "thread": Structure("runs its network in a thread", InThread),
    "custom_autograd": Structure(
        "CNN with a custom autograd function", lambda: PlantedCNN(steep_swish)
    ),
    "no_grad": Structure("function under `torch.no_grad`", lambda: without_gradients),
    "detached": Structure("function that detaches the picture", lambda: detached),
    "eight_bits": Structure("function that rounds pixels to 8 bits", lambda: of_eight_bits),
    "numpy": Structure("numpy function", lambda: by_numpy),
    "black_box": Structure("black box (an ONNX session)", lambda: BlackBox(Session())),
}  # fmt: skip
