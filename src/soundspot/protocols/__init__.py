"""Frozen evaluation protocols of the field, one file each.

| file | what |
|---|---|
| `protocol` | the contract: shots in, parts and scores out |
| `batch` | what protocols share: views of maps, truths, sorted pixels |
| `resizing`, `truths` | the field's interpolations and ways from boxes to pixels |
| `judging`, `ciou` | parts of an overlap; the protocols that are a frame, a truth and a threshold |
| `spool` | maps on disk, for a protocol that must look twice |
| every other | one peer's protocol, and its corrected form where the peer's code is wrong |

    protocol = make("lvs")
    parts = protocol.judge(Batch(shots))
    scores = protocol.scores(parts)      # {"ciou_share_0.5": 0.675, ...}

A name alone is the peer's own rule; `_corrected` is what its code ought to compute; other endings
are explained in the file. Names, conventions and numbers are frozen with `version`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from soundspot.checks import instead
from soundspot.errors import OptionError
from soundspot.protocols.acl import Acl, AclRaw
from soundspot.protocols.avgn import Avgn, AvgnCorrected
from soundspot.protocols.avsbench import Avsbench, AvsbenchBatched
from soundspot.protocols.batch import Batch
from soundspot.protocols.dsol import Dsol
from soundspot.protocols.ez_vsl import EzVsl, EzVslCorrected
from soundspot.protocols.lvs import Lvs, LvsCorrected, LvsCropped
from soundspot.protocols.protocol import Card, Parts, Protocol, Shot, from_json, to_json
from soundspot.protocols.rc_grad import RcGrad, RcGradCorrected
from soundspot.protocols.slavc import Slavc, SlavcCorrected
from soundspot.protocols.soundspot import Soundspot
from soundspot.protocols.ssl_align import SslAlign, SslAlignStrict
from soundspot.protocols.sspl import Sspl, SsplCorrected, SsplCropped
from soundspot.protocols.vssl_eval import VsslEval, VsslEvalByKind

__all__ = [
    "PROTOCOLS",
    "Batch",
    "Card",
    "Parts",
    "Protocol",
    "Shot",
    "from_json",
    "make",
    "to_json",
]

_EVERY: tuple[type[Protocol], ...] = (
    Soundspot,
    *(Lvs, LvsCropped, LvsCorrected),
    *(EzVsl, EzVslCorrected),
    *(Slavc, SlavcCorrected),
    *(Sspl, SsplCropped, SsplCorrected),
    *(RcGrad, RcGradCorrected),
    Dsol,
    *(Acl, AclRaw),
    *(SslAlign, SslAlignStrict),
    *(VsslEval, VsslEvalByKind),
    *(Avsbench, AvsbenchBatched),
    *(Avgn, AvgnCorrected),
)

PROTOCOLS: Mapping[str, type[Protocol]] = MappingProxyType({one.name: one for one in _EVERY})
"""By the name that users type; the recommended one first."""


def make(name: str, folder: Path | None = None) -> Protocol:
    """A protocol by its name.

    Args:
        name: a key of `PROTOCOLS`.
        folder: where a protocol that must look twice keeps maps meanwhile; None: a temporary one.

    Raises:
        OptionError: there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise OptionError(f"there is no protocol {name!r}; {instead(name, PROTOCOLS)}")
    if name == VsslEval.name:
        return VsslEval(folder)
    if name == VsslEvalByKind.name:
        return VsslEvalByKind(folder)
    return PROTOCOLS[name]()
