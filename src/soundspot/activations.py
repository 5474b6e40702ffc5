"""Which functions are activations, and which nodes of an autograd graph they leave behind.

Guided back-propagation must know an activation twice over: as a function that is called, to watch
its output, and as a node that autograd recorded, to tell afterwards that none was missed.

An activation here is what rectifies: it passes on what is large and holds back what is small.
Sigmoid, tanh and softmax squash instead and are none. A *gated* activation is a product of a
signal with a squashing function of that signal alone: x sigmoid(1.702 x) is CLIP's, x sigmoid(x)
is SiLU, x (1 + erf(x / sqrt 2)) / 2 is GELU, spelt out. A product with a function of anything more
(squeeze and excitation, the halves of a GLU) is a gate, not an activation. `torch.maximum`,
`torch.where` and products with a mask are ordinary operations here, whatever they are used for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Edge: TypeAlias = tuple[Any, int]
"""A node of an autograd graph and which of its inputs, as in `node.next_functions`."""

NOTHING: Edge = (None, 0)
"""Where a constant comes from."""

ACTIVATIONS: frozenset[Any] = frozenset(
    (
        F.relu,
        F.relu_,
        F.relu6,
        F.leaky_relu,
        F.leaky_relu_,
        F.elu,
        F.elu_,
        F.selu,
        F.selu_,
        F.celu,
        F.celu_,
        F.rrelu,
        F.rrelu_,
        F.prelu,
        F.gelu,
        F.silu,
        F.mish,
        F.softplus,
        F.hardswish,
        F.threshold,
        torch.threshold,
        torch.celu,
        torch.celu_,
        torch.selu,
        torch.selu_,
        torch.rrelu,
        torch.rrelu_,
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
        torch.prelu,
        Tensor.prelu,
    )
)

CLAMPS: frozenset[Any] = frozenset(
    (
        torch.clamp,
        torch.clamp_,
        torch.clip,
        torch.clip_,
        torch.clamp_min,
        torch.clamp_min_,
        Tensor.clamp,
        Tensor.clamp_,
        Tensor.clip,
        Tensor.clip_,
        Tensor.clamp_min,
        Tensor.clamp_min_,
        F.hardtanh,
        F.hardtanh_,
    )
)
"""Functions that are an activation where their lower bound is zero: clamp(x, 0, 6) is ReLU6."""

PRODUCTS: frozenset[Any] = frozenset(
    (
        torch.mul,
        torch.multiply,
        Tensor.mul,
        Tensor.mul_,
        Tensor.multiply,
        Tensor.multiply_,
        Tensor.__mul__,
        Tensor.__rmul__,
        Tensor.__imul__,
    )
)
"""Functions that are an activation where one factor is a squashing function of the other."""

# Names of nodes are written without the number behind, which tells variants (in place) apart.
RECTIFYING_NODES = frozenset(
    (
        "ReluBackward",
        "LeakyReluBackward",
        "EluBackward",
        "CeluBackward",
        "RreluWithNoiseBackward",
        "PreluKernelBackward",
        "GeluBackward",
        "SiluBackward",
        "MishBackward",
        "SoftplusBackward",
        "HardswishBackward",
        "ThresholdBackward",
    )
)
LOWER_BOUNDS = {
    "HardtanhBackward0": "_saved_min_val",
    "ClampBackward1": "_saved_min",
    "ClampMinBackward0": "_saved_min",
}
"""Nodes of clamps at numbers, and where they keep the lower one."""
PRODUCT = "MulBackward"
SCALINGS = frozenset((PRODUCT, "DivBackward"))
SQUASHING_NODES = frozenset(("SigmoidBackward", "TanhBackward", "ErfBackward"))
POINTWISE_NODES = (
    SCALINGS
    | SQUASHING_NODES
    | {"AddBackward", "SubBackward", "PowBackward", "SoftplusBackward", "ToCopyBackward"}
)
"""What may stand between a signal and its gate."""
FLAT_NODES = frozenset(("RoundBackward", "FloorBackward", "CeilBackward", "TruncBackward"))
"""Steps: their slope is zero wherever they have one."""
SCRIPTED_NODE = "DifferentiableGraphBackward"
"""A stretch of TorchScript, whatever is in it."""


def may_rectify(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is an activation, as far as function and arguments tell.

    A product is one only if its node says so (`is_activation`).
    """
    if func not in CLAMPS:
        return func in ACTIVATIONS
    lower = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
    return isinstance(lower, int | float) and lower == 0


def nodes_behind(output: Tensor) -> set[Any]:
    """All nodes of the autograd graph that leads to `output`."""
    found: set[Any] = set()
    todo: list[Any] = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo.extend(source for source, _ in node.next_functions)
    return found


def is_activation(node: Any) -> bool:
    """Whether an activation left this node behind."""
    name = node.name()
    if name in LOWER_BOUNDS:
        return bool(getattr(node, LOWER_BOUNDS[name]) == 0)
    return _kind(node) in RECTIFYING_NODES or _gates_itself(node)


def is_flat(node: Any) -> bool:
    """Whether nothing passes on the way back, because the way forward rounds."""
    return _kind(node) in FLAT_NODES


def is_opaque(node: Any) -> bool:
    """Whether one cannot know what happens within: TorchScript, a custom autograd function."""
    return isinstance(node, BackwardCFunction) or SCRIPTED_NODE in node.name()


def _kind(node: Any) -> str:
    return str(node.name()).rstrip("0123456789")


def _gates_itself(product: Any) -> bool:
    if _kind(product) != PRODUCT or len(product.next_functions) != 2:
        return False
    left, right = product.next_functions
    return _is_gate(left, _unscaled(right)) or _is_gate(right, _unscaled(left))


def _is_gate(gate: Edge, signal: Edge) -> bool:
    """Whether `gate` squashes `signal` and depends on nothing else."""
    todo, found = [gate], {signal, NOTHING}
    while todo:
        edge = todo.pop()
        if edge in found:
            continue
        if _kind(edge[0]) not in POINTWISE_NODES:
            return False
        found.add(edge)
        todo.extend(edge[0].next_functions)
    return any(_kind(node) in SQUASHING_NODES for node, _ in found - {signal, NOTHING})


def _unscaled(edge: Edge) -> Edge:
    """What is left of a signal when products with constants are taken off."""
    node, _ = edge
    while node is not None and _kind(node) in SCALINGS:
        sources = [source for source in node.next_functions if source[0] is not None]
        if len(sources) != 1:
            break
        edge = sources[0]
        node, _ = edge
    return edge
