"""Touch a network only inside `with`: everything is put back on every way out.

- `frozen(model)`: evaluation mode and parameters without gradients. A tensor then requires a
  gradient exactly when it depends on the picture, and a backward pass costs no parameter
  gradients. Threads may share a model: the first one in saves its state, the last restores it.
- `guided()`: guided back-propagation (Springenberg et al., ICLR 2015 workshop): on the way back,
  each activation passes on only the positive part of the gradient that reaches it. A torch
  function mode sees every spelling (`nn.ReLU`, `F.relu`, `torch.relu`, `x.relu_()`, in-place)
  and edits nothing in the model.
- `layers(model)`: records what each layer gave, for Grad-CAM.

What `torch.compile` made runs as it was written within `guided()` and `layers()`.

Traced and scripted models, custom autograd functions, `torch.vmap` and threads inside a model run
where a function mode cannot see: `saw_all` compares the activations that were watched with those
that autograd recorded, so that its user can refuse rather than hand back the plain gradient.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from soundspot.activations import PRODUCTS, is_activation, is_opaque, may_rectify, nodes_behind


class GuidedActivations(TorchFunctionMode):
    """Clamp the gradient at the output of each activation; `seen` counts those with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self._watched: set[Any] = set()
        self._missed = False

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
        if isinstance(out, Tensor) and out.requires_grad:
            product = func in PRODUCTS and is_activation(out.grad_fn)
            if product or may_rectify(func, args, kwargs):
                self._watch(out)
        return out

    def _watch(self, out: Tensor) -> None:
        self.seen += 1
        self._watched.add(out.grad_fn)
        # In place on a part of a tensor: who reads the whole tensor goes past the part's hook.
        self._missed |= not is_activation(out.grad_fn)
        out.register_hook(_positive_part)  # type: ignore[no-untyped-call]

    def saw_all(self, output: Tensor) -> bool:
        """Whether there are activations behind `output`, and each one is watched."""
        nodes = nodes_behind(output)
        if self._missed or any(map(is_opaque, nodes)) or nodes.isdisjoint(self._watched):
            return False
        return self._watched.issuperset(filter(is_activation, nodes))


def _positive_part(gradient: Tensor) -> Tensor:
    return gradient.relu()


@contextmanager
def guided() -> Iterator[GuidedActivations]:
    """Within, backward passes of what runs forward here are guided.

    Yields:
        the mode, whose `saw_all(output)` tells whether all activations behind `output` are guided.
    """
    with uncompiled(), GuidedActivations() as mode:
        yield mode


class _Stance:
    """How many callers want compiled code to run as it was written, and what puts it back."""

    def __init__(self) -> None:
        self.holders = 0
        self.eager: Any = None


_STANCE = _Stance()
_STANCE_LOCK = threading.Lock()


@contextmanager
def uncompiled() -> Iterator[None]:
    """What `torch.compile` made runs as it was written; in all threads until the last one is out.

    Nothing is compiled where the compiler was never imported, and importing it takes a second.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _STANCE_LOCK:
        if _STANCE.holders == 0:
            _STANCE.eager = torch.compiler.set_stance("force_eager")
            _STANCE.eager.__enter__()
        _STANCE.holders += 1
    try:
        yield
    finally:
        with _STANCE_LOCK:
            _STANCE.holders -= 1
            if _STANCE.holders == 0:
                _STANCE.eager.__exit__(None, None, None)


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
        with uncompiled():
            yield seen
    finally:
        for handle in handles:
            handle.remove()
