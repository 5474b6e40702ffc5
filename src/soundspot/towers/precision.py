"""A network of which a part may be computed in half precision, and the rest may not.

`model.half()`, `model.bfloat16()` and `model.double()` reach every parameter and buffer by way of
`nn.Module._apply`. Convolutions are content with 8 or 11 binary digits. A spectrogram's logarithm,
a vector brought to length 1 (its 1e-12 is 0 in float16), and the few sums that make a map are not:
they stay in float32, and the convolutions' features are widened before they get there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn


class PartlyCast(nn.Module):
    """A module of which only the children named in `cast` take every precision.

    A child of this class has its own say about what is inside of it.
    """

    cast: ClassVar[tuple[str, ...]]
    """Names of the children that take every precision."""
    exact: ClassVar[tuple[torch.dtype, ...]] = (torch.float32,)
    """What the rest may be cast to."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast, as all of `nn.Module`'s ways to do so ask for."""
        if recurse:
            for name in self.cast:
                self.get_submodule(name)._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(_casting_only_to(self.exact, fn), recurse)  # type: ignore[no-untyped-call]
        return self


def _casting_only_to(
    allowed: tuple[torch.dtype, ...], fn: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """The same change, but a tensor keeps its precision where the new one is not allowed."""

    def changed(tensor: Tensor) -> Tensor:
        new = fn(tensor)
        kept = new.dtype == tensor.dtype or new.dtype in allowed
        return new if kept else tensor.to(new.device)

    return changed
