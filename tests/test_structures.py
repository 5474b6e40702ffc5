"""The gradient methods on networks of every structure: by laws, by oracles, by planted sources."""

from __future__ import annotations

import copy
import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planted import PlantedCNN, Scene, TwoTowers, pixelwise, relu_in_place, scene
from soundspot.activations import ACTIVATIONS, is_activation, nodes_behind
from soundspot.errors import MethodError, ModelError
from soundspot.localize import METHODS, GradCam, GuidedBackprop, InputGradient, Occlusion, parse
from soundspot.maps import gaussian_blur, peak
from soundspot.similarity import check_model
from soundspot.watch import frozen, guided, layers, uncompiled
from structures import (
    STRUCTURES,
    BlackBox,
    ClipClap,
    FusionTransformer,
    ResNet18,
    Session,
    TorchViT,
    compiled,
    of_eight_bits,
    quick_gelu,
    steep_swish,
    without_gradients,
)

ROOT = Path(__file__).resolve().parents[1]
FLAT = {"no_grad", "detached", "eight_bits", "numpy", "black_box"}
"""No gradient, or none that says anything."""
HIDDEN = {"function_smooth", "function_vmap", "traced", "exported", "thread", "custom_autograd"}
"""Guided back-propagation cannot see their activations, or there are none."""
DEAF = {"traced"}
POSITIVE = {"mixer", "compiled", "function", "function_compiled"}
"""Every gradient that reaches an activation is positive: there is nothing to clamp."""
SLOPED = [name for name in STRUCTURES if name not in FLAT]
GUIDED = [name for name in SLOPED if name not in HIDDEN]
PLANTED = [name for name in SLOPED if STRUCTURES[name].planted]


@pytest.fixture(autouse=True, scope="module")
def quiet_compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@cache
def built(name: str) -> Any:
    structure = STRUCTURES[name]
    if not structure.is_available():
        pytest.skip(f"{name} needs the package {structure.package}, which is not installed")
    return structure.build()


def asked(name: str) -> tuple[Any, Scene]:
    return built(name), STRUCTURES[name].pairs()


def windows(pairs: Scene) -> str:
    side = pairs.images.shape[-1] // 4
    return f"occlusion(patch={side}, stride={side})"


def slope(model: Any, pairs: Scene, *, clamp: bool = False) -> Tensor:
    """The gradient at the pixels, by hand; clamped on the way into each activation's node."""
    images = pairs.images.clone().requires_grad_()
    with frozen(model):
        answers = model(images, pairs.sounds)
        handles = [
            node.register_prehook(lambda gradients: tuple(g * (g > 0) for g in gradients))
            for node in nodes_behind(answers)
            if clamp and is_activation(node)
        ]
        assert bool(handles) == clamp
        (gradient,) = torch.autograd.grad(answers.sum(), images)
    return gradient


def same(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    assert scale > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * scale)


# --- the laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_models_follow_the_laws(name: str) -> None:
    model, pairs = asked(name)
    with frozen(model):
        check_model(model, pairs.images, pairs.sounds, gradients=name not in FLAT)
        if name in FLAT:
            with pytest.raises(ModelError, match=r"law 3 broken.*`occlusion`"):
                check_model(model, pairs.images, pairs.sounds)


@pytest.mark.parametrize("name", SLOPED)
def test_input_gradient_is_autograds(name: str) -> None:
    model, pairs = asked(name)
    found = InputGradient(reduce="l2", blur=0)(model, pairs.images, pairs.sounds)
    same(found.maps, slope(model, pairs).square().sum(1).sqrt())


@pytest.mark.parametrize("name", GUIDED)
def test_guided_gradient_is_clamped_at_every_activation(name: str) -> None:
    """The oracle sees nodes of the autograd graph, the method sees functions that are called."""
    model, pairs = asked(name)
    with uncompiled():
        expected, plain = slope(model, pairs, clamp=True), slope(model, pairs)
    found = GuidedBackprop(reduce="l2", blur=0)(model, pairs.images, pairs.sounds).maps
    same(found, expected.square().sum(1).sqrt())
    if name not in POSITIVE:
        assert (expected - plain).abs().max() > 1e-3 * plain.abs().max()


@pytest.mark.parametrize("name", [n for n in STRUCTURES if n not in GUIDED])
def test_guided_refuses_what_it_cannot_see(name: str) -> None:
    model, pairs = asked(name)
    other = "occlusion" if name in FLAT else "input_gradient"
    with pytest.raises(MethodError, match=other):
        GuidedBackprop()(model, pairs.images, pairs.sounds)
    parse(windows(pairs) if name in FLAT else other)(model, pairs.images, pairs.sounds)


def slow_occlusion(model: Any, pairs: Scene) -> Tensor:
    """One picture, one window, one forward pass at a time."""
    side = pairs.images.shape[-1] // 4
    maps = torch.zeros_like(pairs.images[:, 0])
    for row, (image, sound) in enumerate(zip(pairs.images, pairs.sounds, strict=True)):
        whole = model(image[None], sound[None])
        for y in range(0, 4 * side, side):
            for x in range(0, 4 * side, side):
                covered = image.clone()
                covered[:, y : y + side, x : x + side] = image.mean((1, 2))[:, None, None]
                fall = whole - model(covered[None], sound[None])
                maps[row, y : y + side, x : x + side] = fall
    return maps


@pytest.mark.parametrize("name", STRUCTURES)
def test_occlusion_is_the_slow_loop(name: str) -> None:
    model, pairs = asked(name)
    found = parse(windows(pairs))(model, pairs.images, pairs.sounds)
    with frozen(model), torch.no_grad():
        expected, answers = slow_occlusion(model, pairs), model(pairs.images, pairs.sounds)
    torch.testing.assert_close(found.similarities, answers)
    rounding = 5e-5 * float(answers.abs().max()) + 1e-3 * float(expected.abs().max())
    assert expected.abs().max() > 20 * rounding
    torch.testing.assert_close(found.maps, expected, rtol=0, atol=rounding)


@pytest.mark.parametrize("name", [name for name in SLOPED if name not in DEAF])
@pytest.mark.parametrize("method", ["input_gradient", "guided_backprop", "occlusion"])
def test_maps_follow_the_sound(name: str, method: str) -> None:
    if method == "guided_backprop" and name in HIDDEN:
        return
    model, pairs = asked(name)
    explain = parse(windows(pairs) if method == "occlusion" else method)
    mine = explain(model, pairs.images, pairs.sounds).maps
    other = explain(model, pairs.images, pairs.sounds.roll(1, 0)).maps
    length = [m.flatten(1).norm(dim=1) for m in (mine, other)]
    assert (length[0] > 0).all()
    alike = F.cosine_similarity(mine.double().flatten(1), other.double().flatten(1))
    assert (1 - alike > 1e-6).all(), alike


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("method", ["input_gradient", "guided_backprop", "grad_cam"])
def test_rows_do_not_depend_on_one_another(name: str, method: str) -> None:
    model, pairs = asked(name)
    explain = parse(method)
    try:
        together = explain(model, pairs.images, pairs.sounds).maps[1]
    except MethodError:
        with pytest.raises(MethodError):
            explain(model, pairs.images[1:2], pairs.sounds[1:2])
        return
    alone = explain(model, pairs.images[1:2], pairs.sounds[1:2]).maps[0]
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4 * float(together.abs().max()))


@pytest.mark.parametrize("name", [n for n in STRUCTURES if not n.startswith("function")])
def test_networks_are_left_as_they_were(name: str) -> None:
    model, pairs = asked(name)
    if not isinstance(model, nn.Module):
        return

    def state() -> list[Any]:
        flags = [m.training for m in model.modules() if hasattr(m, "training")]
        flags += [len(m._forward_hooks) for m in model.modules() if hasattr(m, "_forward_hooks")]
        return flags + [(p.requires_grad, p.grad, p._version) for p in model.parameters()]

    before = state()
    for method in ("input_gradient", "guided_backprop", "grad_cam", windows(pairs)):
        try:
            parse(method)(model, pairs.images, pairs.sounds)
        except MethodError:
            assert name in HIDDEN
        assert state() == before


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("method", ["input_gradient", "guided_backprop"])
@pytest.mark.parametrize("reduce", ["abs_max", "l2"])
def test_peak_lies_on_the_planted_source(name: str, method: str, reduce: str) -> None:
    """For the sound that is heard; a pixel beside the square counts."""
    if method == "guided_backprop" and name in HIDDEN:
        return
    model, pairs = asked(name)
    explain = parse(f"{method}(reduce={reduce!r}, blur=0)")
    maps = gaussian_blur(explain(model, pairs.images, pairs.sounds).maps, 1.5)
    for values, (x0, y0, x1, y1) in zip(maps, pairs.sources, strict=True):
        x, y = peak(values.numpy())
        assert x0 - 1 <= x < x1 + 1
        assert y0 - 1 <= y < y1 + 1


# --- other people's oracles ---------------------------------------------------------------------

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # on import: about matplotlib's and its own deprecations
    from captum import attr


def by_captum(method: Any, model: nn.Module, pairs: Scene) -> Tensor:
    with warnings.catch_warnings(), frozen(model):
        warnings.simplefilter("ignore")  # it warns that it sets hooks
        return method.attribute(
            pairs.images.clone().requires_grad_(), additional_forward_args=pairs.sounds
        ).abs()


@pytest.mark.parametrize(
    "name", ["resnet18_functional", "vit_torch", "mixer", "clip_clap", "fusion"]
)
def test_input_gradient_is_captums(name: str) -> None:
    model, pairs = asked(name)
    found = InputGradient(blur=0)(model, pairs.images, pairs.sounds)
    same(found.maps, by_captum(attr.Saliency(model), model, pairs).amax(1))


def test_guided_resnet_is_captums() -> None:
    """Where each activation is a module; with functions captum gives the plain gradient."""
    pairs = scene()
    model, functional = ResNet18(nn.ReLU), ResNet18(lambda: F.relu)
    expected = by_captum(attr.GuidedBackprop(model), model, pairs).amax(1)
    in_place = (lambda: nn.ReLU(inplace=True), lambda: relu_in_place)
    for spelling in (nn.ReLU, lambda: F.relu, *in_place):
        found = GuidedBackprop(blur=0)(ResNet18(spelling), pairs.images, pairs.sounds)
        same(found.maps, expected)
    theirs = by_captum(attr.GuidedBackprop(functional), functional, pairs).amax(1)
    assert (theirs - expected).abs().max() > 0.01 * expected.max()


class Positive(torch.autograd.Function):
    """Guided back-propagation's definition: nothing forward, the positive part backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (gradient > 0)


def clamped(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: Positive.apply(activation(x))


@pytest.mark.parametrize("activation", [F.relu, F.gelu, F.silu, quick_gelu])
@pytest.mark.parametrize("network", [TorchViT, FusionTransformer])
def test_guided_transformers_by_definition(
    network: Callable[[Any], nn.Module], activation: Callable[[Tensor], Tensor]
) -> None:
    pairs = scene()
    expected = InputGradient(blur=0)(network(clamped(activation)), pairs.images, pairs.sounds)
    found = GuidedBackprop(blur=0)(network(activation), pairs.images, pairs.sounds)
    same(found.maps, expected.maps)


@pytest.mark.parametrize("spelling", ["quick_gelu", "gelu", "gelu_new", "gelu_python", "silu"])
def test_guided_clip_by_definition(spelling: str) -> None:
    """CLIP's own activation is no torch function: a product with a sigmoid."""
    pytest.importorskip("transformers", reason="CLIP and CLAP need the package transformers")
    pairs, model = scene(), ClipClap(spelling)
    reference = copy.deepcopy(model)
    for layer in reference.picture.vision_model.encoder.layers:
        activation = layer.mlp.activation_fn
        del layer.mlp.activation_fn
        layer.mlp.activation_fn = clamped(activation)
    expected = InputGradient(blur=0)(reference, pairs.images, pairs.sounds).maps
    same(GuidedBackprop(blur=0)(model, pairs.images, pairs.sounds).maps, expected)
    plain = InputGradient(blur=0)(model, pairs.images, pairs.sounds).maps
    assert (plain - expected).abs().max() > 1e-3 * expected.max()


# --- what counts as an activation ---------------------------------------------------------------

GATED: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": lambda x: x * x.sigmoid(),
    "the other way round": lambda x: torch.sigmoid(x) * x,
    "in place": lambda x: (y := 2 * x).mul_(y.sigmoid()),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "gelu by tanh": lambda x: x * (0.5 * (1 + torch.tanh(0.8 * (x + 0.044715 * x**3)))),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "of a scaled signal": lambda x: (2 * x) * torch.sigmoid(3 * (2 * x)) / 2,
}
NOT_GATED: dict[str, Callable[[Tensor], Tensor]] = {
    "halves of a GLU": lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1].sigmoid(),
    "one split in two": lambda x: (lambda a, b: a * b.sigmoid())(*x.chunk(2, 1)),
    "squeeze and excitation": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "spatial gate": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "square": lambda x: x * x,
    "constant": lambda x: x * 2,
    "wavenet": lambda x: x.tanh() * x.sigmoid(),
}


@pytest.mark.parametrize("name", [*GATED, *NOT_GATED])
def test_gated_activations(name: str) -> None:
    x = 2 * torch.randn(2, 4, 3, 3, requires_grad=True)
    with guided() as mode:
        answer = {**GATED, **NOT_GATED}[name](x)
        assert (mode.seen > 0) == (name in GATED)
        assert mode.saw_all(answer) == (name in GATED)
        (gradient,) = torch.autograd.grad(answer, x, -torch.ones_like(answer))
    assert bool((gradient == 0).all()) == (name in GATED)


def called(function: Any, x: Tensor) -> Tensor:
    """With what else it needs: a slope, a threshold."""
    more = {"prelu": (torch.full((1,), 0.1),), "threshold": (0.0, 0.0)}
    return function(x, *more.get(function.__name__.strip("_"), ()))


@pytest.mark.parametrize("function", sorted(ACTIVATIONS, key=str), ids=lambda f: f.__name__)
def test_every_activation_leaves_a_node_that_is_known(function: Any) -> None:
    x = 1 * torch.randn(2, 4, requires_grad=True)
    answer = called(function, x)
    assert is_activation(answer.grad_fn)
    assert not is_activation((answer + 1).grad_fn)


@pytest.mark.parametrize("lower", [0, 0.0, -1, None])
def test_clamps_are_activations_where_they_cut_at_zero(lower: float | None) -> None:
    x = 1 * torch.randn(2, 4, requires_grad=True)
    for answer in (x.clamp(lower, 6), torch.clip(x, min=lower, max=2)):
        assert is_activation(answer.grad_fn) == (lower == 0)
    if lower is not None:
        assert is_activation(x.clamp_min(lower).grad_fn) == (lower == 0)
        assert is_activation(F.hardtanh(x, lower, 6).grad_fn) == (lower == 0)


class PartInPlace(PlantedCNN):
    """An activation in place on a part: whoever reads the whole tensor goes past it."""

    def features(self, images: Tensor) -> Tensor:
        x = self.colours(images).clone()
        x[:, :2].relu_()
        return F.relu(self.gather(F.relu(x)))


class TwiceHere(PlantedCNN):
    """As many activations in this thread, thrown away, as in the thread that counts."""

    def features(self, images: Tensor) -> Tensor:
        F.relu(F.relu(self.colours(images)))
        found: list[Tensor] = []
        features = super().features
        thread = threading.Thread(target=lambda: found.append(features(images)))
        thread.start()
        thread.join()
        return F.relu(found[0])


def first_known_then(other: Callable[[Tensor], Tensor]) -> nn.Module:
    """A network with an activation that is seen, and another one."""
    model = PlantedCNN()
    spellings = [F.relu, other]
    model.activation = lambda x: spellings[int(x.shape[1] == 3 and len(used) % 2)](x)
    used: list[int] = []
    gather = model.gather.forward
    model.gather.forward = lambda x: (used.append(1), gather(x))[1]  # type: ignore[func-returns-value]
    return model


@pytest.mark.parametrize("build", [PartInPlace, TwiceHere, lambda: first_known_then(steep_swish)])
def test_one_hidden_activation_is_enough_to_refuse(build: Callable[[], nn.Module]) -> None:
    pairs = scene()
    with pytest.raises(MethodError, match="does not see every activation"):
        GuidedBackprop()(build(), pairs.images, pairs.sounds)


def test_known_and_spelt_out_together() -> None:
    pairs = scene()
    expected = slope(first_known_then(quick_gelu), pairs, clamp=True).abs().amax(1)
    found = GuidedBackprop(blur=0)(first_known_then(quick_gelu), pairs.images, pairs.sounds)
    same(found.maps, expected)


# --- compiled -----------------------------------------------------------------------------------


def stance() -> str:
    return str(torch._dynamo.eval_frame._stance.stance)


@pytest.mark.parametrize("method", ["input_gradient", "guided_backprop", "grad_cam"])
def test_compiled_networks_give_the_same_maps(method: str) -> None:
    pairs = scene()
    model = PlantedCNN() if method == "input_gradient" else ResNet18(lambda: F.relu)
    expected = parse(method)(model, pairs.images, pairs.sounds).maps
    same(parse(method)(compiled(model), pairs.images, pairs.sounds).maps, expected)
    assert stance() == "default"


def test_threads_share_the_compiler() -> None:
    """The first one in switches it off, the last one out on again; also after an error."""
    compiled(pixelwise)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with guided():
            inside.set()
            assert leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with layers(PlantedCNN()):
        leave.set()
        thread.join(10)
        assert stance() == "force_eager"
    assert stance() == "default"
    with pytest.raises(KeyError), guided():
        raise KeyError
    assert stance() == "default"


# --- functions that cannot be differentiated ----------------------------------------------------


@pytest.mark.parametrize(
    "method", ["input_gradient", "guided_backprop", "combined(input_gradient, guided_backprop)"]
)
def test_black_boxes_are_told_what_is_wrong(method: str) -> None:
    pairs = scene()
    with pytest.raises(MethodError, match=r"fails when asked .*numpy.*; use occlusion"):
        parse(method)(BlackBox(Session()), pairs.images, pairs.sounds)
    with pytest.raises(MethodError, match="rounds what depends on the picture; use occlusion"):
        parse(method)(of_eight_bits, pairs.images, pairs.sounds)
    with pytest.raises(MethodError, match="no gradient reaches it; use occlusion"):
        parse(method)(without_gradients, pairs.images, pairs.sounds)


class Wrapped(nn.Module):
    """A black box in a module, as adapters often are."""

    def __init__(self) -> None:
        super().__init__()
        self.box = BlackBox(Session())

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return self.box(images, sounds)


def test_grad_cam_of_a_wrapped_black_box() -> None:
    pairs = scene()
    with pytest.raises(MethodError, match=r"grad_cam .*numpy.*; use occlusion"):
        GradCam()(Wrapped(), pairs.images, pairs.sounds)
    expected = Occlusion(8, 8)(pixelwise, pairs.images, pairs.sounds).maps
    same(Occlusion(8, 8)(Wrapped(), pairs.images, pairs.sounds).maps, expected)


def test_inference_mode_is_no_gradient() -> None:
    pairs = scene()
    model = torch.inference_mode()(pixelwise)
    with pytest.raises(MethodError, match="no gradient reaches it; use occlusion"):
        InputGradient()(model, pairs.images, pairs.sounds)


@pytest.mark.parametrize("method", ["input_gradient", "guided_backprop", "grad_cam", "occlusion"])
def test_a_models_own_error_is_its_own(method: str) -> None:
    """It fails with or without gradients: nothing that another method could do better."""

    class Broken(nn.Module):
        def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    pairs = scene()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        parse(method)(Broken(), pairs.images, pairs.sounds)


@pytest.mark.parametrize(
    "step", [torch.floor, torch.ceil, torch.trunc, lambda x: x.round(decimals=2)]
)
def test_every_rounding_is_told(step: Callable[[Tensor], Tensor]) -> None:
    pairs = scene()
    with pytest.raises(MethodError, match="rounds what depends on the picture"):
        InputGradient()(lambda i, s: pixelwise(step(20 * i) / 20, s), pairs.images, pairs.sounds)


def test_straight_through_rounding_has_a_slope() -> None:
    def straight(images: Tensor, sounds: Tensor) -> Tensor:
        steps = (255 * images).round() / 255
        return pixelwise(images + (steps - images).detach(), sounds)

    pairs = scene()
    found = InputGradient(blur=0)(straight, pairs.images, pairs.sounds).maps
    expected = InputGradient(blur=0)(pixelwise, pairs.images, pairs.sounds).maps
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.01 * float(expected.max()))


@pytest.mark.parametrize("method", ["input_gradient", "guided_backprop", "grad_cam"])
def test_nothing_to_say_is_a_map_of_zeros(method: str) -> None:
    """What is heard is nowhere: every rectifier is off. Alone as among others."""
    images, sounds = torch.full((1, 3, 32, 32), 0.5), scene().sounds[:1]
    for model in (PlantedCNN(), TwoTowers()):
        found = parse(method)(model, images, sounds)
        assert found.maps.shape[0] == 1
        assert found.maps.abs().max() == 0


# --- the table ----------------------------------------------------------------------------------


@contextmanager
def benchmark() -> Iterator[Any]:
    """`benchmarks/structures.py` as a module; the tests have one of that name too."""
    name = "structures_benchmark"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "structures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


def test_the_page_says_what_the_code_does() -> None:
    """If it does not: python benchmarks/structures.py --write docs/structures.md."""
    with benchmark() as bench:
        assert {parse(m.format(patch=8)).name for m in bench.METHODS} == set(METHODS)
        rows = {
            structure.what: bench.ask(replace(structure, build=partial(built, name)))
            for name, structure in STRUCTURES.items()
            if structure.is_available()
        }
        page = (ROOT / "docs" / "structures.md").read_text()
        written = page.split(bench.BEGIN)[1].split(bench.END)[0].strip().splitlines()
        absent = [s.what for s in STRUCTURES.values() if not s.is_available()]
        kept = [line for line in written if not any(f"| {what} |" in line for what in absent)]
        assert kept == bench.render(rows).splitlines()


def test_a_page_keeps_what_stands_around_its_table() -> None:
    with benchmark() as bench:
        page = f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n"
        new = f"before\n{bench.BEGIN}\nnew\n{bench.END}\nafter\n"
        assert bench.replaced(page, "new") == new
