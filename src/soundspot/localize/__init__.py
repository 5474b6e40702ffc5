"""Localization methods, one file each, and the strings that name them.

`parse("combined(similarity_map, occlusion(patch=48))")` builds the object; its `repr` is the
string again. The string is read as Python syntax with `ast`; options are literals, so no code
runs.
"""

from __future__ import annotations

import ast
from dataclasses import fields

from soundspot.checks import instead
from soundspot.errors import OptionError
from soundspot.localize.combined import Combined
from soundspot.localize.grad_cam import GradCam
from soundspot.localize.guided_backprop import GuidedBackprop
from soundspot.localize.inner_gradient import InnerGradient
from soundspot.localize.input_gradient import InputGradient
from soundspot.localize.method import Method
from soundspot.localize.multi_scale import MultiScale
from soundspot.localize.occlusion import Occlusion
from soundspot.localize.similarity_map import SimilarityMap

LONGEST_QUOTE = 80
"""Characters of a user's string that an error message repeats."""

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        SimilarityMap,
        InputGradient,
        GuidedBackprop,
        InnerGradient,
        GradCam,
        Occlusion,
        Combined,
        MultiScale,
    )
}

__all__ = [
    "METHODS",
    "Combined",
    "GradCam",
    "GuidedBackprop",
    "InnerGradient",
    "InputGradient",
    "Method",
    "MultiScale",
    "Occlusion",
    "SimilarityMap",
    "parse",
    "parse_many",
]


def parse(text: str) -> Method:
    """Build the method that a string names.

    Raises:
        OptionError: unknown method or option, a value outside its range, or broken syntax.
    """
    return _build(_syntax(text), text)


def parse_many(text: str) -> list[Method]:
    """Build a comma-separated list of methods; commas within brackets separate options."""
    tree = _syntax(text)
    nodes = tree.elts if isinstance(tree, ast.Tuple) else [tree]
    return [_build(node, text) for node in nodes]


def _syntax(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise OptionError(f"method {_short(text)}: cannot be read; {_EXAMPLES}") from None


def _build(node: ast.expr, text: str) -> Method:
    if isinstance(node, ast.Name):
        return _create(node.id, [], {})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        parts = [_build(part, text) for part in node.args]
        options = {k.arg: _literal(k.value, text) for k in node.keywords if k.arg}
        if len(options) == len(node.keywords):
            return _create(node.func.id, parts, options)
    raise OptionError(f"method {_short(text)}: cannot be read; {_EXAMPLES}")


def _literal(node: ast.expr, text: str) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise OptionError(
            f"method {_short(text)}: an option's value is neither a number nor a quoted word"
        ) from None


def _create(name: str, parts: list[Method], options: dict[str, object]) -> Method:
    if name not in METHODS:
        raise OptionError(f"unknown method {_short(name)}; {instead(name, METHODS)}")
    kind = METHODS[name]
    known = [f.name for f in fields(kind) if f.name != kind.parts]
    unknown = [option for option in options if option not in known]
    if unknown or (parts and not kind.parts):
        wrong = _short(unknown[0] if unknown else repr(parts[0]))
        takes = f"its options are {', '.join(known)}" if known else "it has no options"
        raise OptionError(f"{name} does not take {wrong}; {takes}")
    return kind(*parts, **options)


def _short(text: str) -> str:
    """What somebody typed, quoted, at a length that keeps a message readable."""
    return repr(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "...")


_EXAMPLES = (
    'write it like guided_backprop, occlusion(patch=48, fill="mean") or '
    "combined(similarity_map, guided_backprop)"
)
