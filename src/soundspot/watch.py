"""Touch a network only inside `with`: everything is put back on every way out.

- `frozen(model)`: evaluation mode and parameters without gradients. A tensor then requires a
  gradient exactly when it depends on the picture, and a backward pass costs no parameter
  gradients. Threads may share a model: the first one in saves its state, the last restores it.
- `guided()`: guided back-propagation (Springenberg et al., ICLR 2015 workshop): on the way back,
  each activation passes on only the positive part of the gradient that reaches it. A torch
  function mode sees every spelling (`nn.ReLU`, `F.relu`, `torch.relu`, `x.relu_()`, in-place)
  and edits nothing in the model.
- `layers(model)`: records what each layer gave, for Grad-CAM.

Traced and scripted models, and threads inside a model, run where a function mode cannot see:
`guided()` counts the activations that it saw, and `saw_all` compares them with those that autograd
recorded, so that its user can refuse rather than hand back the plain gradient.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
"""Activations that rectify: sigmoid, tanh and softmax squash instead and are left alone."""

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


RECTIFYING_NODES = frozenset(
    (
        "ReluBackward0",
        "LeakyReluBackward0",
        "EluBackward0",
        "CeluBackward0",
        "RreluWithNoiseBackward0",
        "PreluKernelBackward0",
        "GeluBackward0",
        "SiluBackward0",
        "MishBackward0",
        "SoftplusBackward0",
        "HardswishBackward0",
    )
)
"""What autograd calls the activations; F.relu6 is a hardtanh whose lower bound is zero."""
SCRIPTED_NODE = "DifferentiableGraphBackward"
"""A stretch of TorchScript, whatever is in it."""


class GuidedActivations(TorchFunctionMode):
    """Clamp the gradient at the output of each activation; `seen` counts those with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function as it is, then watch its output if it was an activation."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if _rectifies(func, args, kwargs) and isinstance(out, Tensor) and out.requires_grad:
            out.register_hook(_positive_part)  # type: ignore[no-untyped-call]
            self.seen += 1
        return out

    def saw_all(self, output: Tensor) -> bool:
        """Whether there were activations, and as many as autograd recorded behind `output`.

        What runs compiled is one node to autograd, and is seen while it is traced.
        """
        nodes = _nodes_behind(output)
        hidden = any(SCRIPTED_NODE in node.name() for node in nodes)
        return not hidden and 0 < self.seen >= sum(map(_is_rectifying, nodes))


def _rectifies(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    if func in ACTIVATIONS:
        return True
    if func not in CLAMPS:
        return False
    lower = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
    return isinstance(lower, int | float) and lower == 0


def _nodes_behind(output: Tensor) -> set[Any]:
    """All nodes of the autograd graph that leads to `output`."""
    found: set[Any] = set()
    todo: list[Any] = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo.extend(source for source, _ in node.next_functions)
    return found


def _is_rectifying(node: Any) -> bool:
    name = node.name()
    return name in RECTIFYING_NODES or (name == "HardtanhBackward0" and node._saved_min_val == 0)


def _positive_part(gradient: Tensor) -> Tensor:
    return gradient.relu()


@contextmanager
def guided() -> Iterator[GuidedActivations]:
    """Within, backward passes of what runs forward here are guided.

    Yields:
        the mode, whose `saw_all(output)` tells whether all activations behind `output` are guided.
    """
    with GuidedActivations() as mode:
        yield mode


@dataclass
class _Held:
    """A flag that is switched off, what it was before, and how many callers need it off."""

    was: bool
    holders: int = 0


_HELD: dict[int, _Held] = {}
_HELD_LOCK = threading.Lock()


@contextmanager
def frozen(model: object) -> Iterator[None]:
    """Evaluation mode and no parameter gradients; both restored, module by module.

    Gradients at the picture can be had inside, also where the caller is in inference mode. Of a
    model that is no `nn.Module` (a plain function) only that holds: what it keeps within cannot be
    seen from here.
    """
    flags: list[tuple[Any, str]] = []
    if isinstance(model, nn.Module):
        # A frozen TorchScript module has no mode to switch.
        flags += [(module, "training") for module in model.modules() if hasattr(module, "training")]
        flags += [(parameter, "requires_grad") for parameter in model.parameters()]
    _switch_off(flags)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        _restore(flags)


def _switch_off(flags: Sequence[tuple[Any, str]]) -> None:
    with _HELD_LOCK:
        for thing, flag in flags:
            _HELD.setdefault(id(thing), _Held(getattr(thing, flag))).holders += 1
            setattr(thing, flag, False)


def _restore(flags: Sequence[tuple[Any, str]]) -> None:
    with _HELD_LOCK:
        for thing, flag in flags:
            held = _HELD[id(thing)]
            held.holders -= 1
            if held.holders == 0:
                setattr(thing, flag, _HELD.pop(id(thing)).was)


def is_scripted(model: object) -> bool:
    """Whether any part is TorchScript, whose inside no function mode or hook can see."""
    return isinstance(model, nn.Module) and any(
        isinstance(module, torch.jit.ScriptModule) for module in model.modules()
    )


@contextmanager
def layers(model: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """Record, in order of running, each layer's output that depends on the picture.

    TorchScript takes no hooks: what is inside it stays unseen.

    Yields:
        a list of (layer name, output), filled while the model runs inside the block.
    """
    seen: list[tuple[str, Tensor]] = []

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, tuple | list) else (output,)
            seen.extend((name, o) for o in outputs if isinstance(o, Tensor) and o.requires_grad)

        return record

    handles = [
        module.register_forward_hook(recorder(name))
        for name, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
