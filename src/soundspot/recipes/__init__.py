"""Runs as files: what `soundspot train --config` reads, and the recipes that come with soundspot.

A configuration is one flat YAML mapping. Its keys are the names of the command line with "_" for
"-", so every key can be given in either place; the command line wins over the file, the file over
the model's own options (`options.RECIPES`):

    model: two_tower(pool=peak)
    data: /data/flickr-144k
    steps: 20000
    rate: 1e-3

YAML is read by PyYAML's safe loader beside the dataclasses that already say names, types, ranges
and help, rather than by jsonargparse: that would be a second parser beside the one of all other
commands, and its messages are many lines long. Here a wrong key is one line with its place in the
file. The recipes that come along are the other files of this folder, known by name.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.errors import OptionError
from soundspot.files import one_line
from soundspot.options import RECIPES, Handling, TrainOptions

if TYPE_CHECKING:
    import yaml

SUFFIX = ".yaml"
FOLDER = Path(__file__).parent


def _place(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class Places:
    """Between what and what a run goes; each field's meaning is its `help`."""

    data: tuple[str, ...] = _place(
        (),
        "a manifest (.jsonl), a folder with images/SET and sounds/SET, or folders of shards, all "
        "mixed",
    )
    out: str = _place("", "folder of the run; an unfinished one goes on")
    model: str = _place("two_tower", "what to train, with options as in two_tower(pool=peak)")
    sound_tower: str = _place(
        "default", "from `soundspot distill`, or default for the default model's"
    )
    bank: str = _place("", "where heard sounds are kept, to share; empty: the run's folder")
    device: str = _place("auto", "auto, cpu, cuda or mps")


@dataclass(frozen=True)
class RunConfig:
    """All that a run is told."""

    places: Places
    options: TrainOptions
    handling: Handling

    def text(self) -> str:
        """The YAML that reads as the same, each key with its meaning."""
        lines = []
        for part in (self.places, self.options, self.handling):
            for option in fields(part):
                value = _written(getattr(part, option.name))
                lines.append(f"{option.name}: {value}  # {option.metadata['help']}")
        return "\n".join(lines) + "\n"


def keys() -> dict[str, Field[Any]]:
    """Every key, by its name."""
    return {
        option.name: option for part in (Places, TrainOptions, Handling) for option in fields(part)
    }


def names() -> list[str]:
    """The recipes that come with soundspot."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def read_config(name: str) -> dict[str, Any]:
    """What a configuration says, by key.

    Args:
        name: a file, or one of `names()`.

    Raises:
        OptionError: no such file, no YAML, an unknown key, or a value of the wrong kind.
    """
    path = FOLDER / f"{name}{SUFFIX}" if name in names() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OptionError(
            f"{one_line(name)}: no such configuration ({getattr(error, 'strerror', error)}); give "
            f"a YAML file, or one of {', '.join(names())}"
        ) from None
    known, found = keys(), dict[str, Any]()
    for key, value, where in _entries(text, one_line(name)):
        if not isinstance(key, str) or key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise OptionError(f"{where}: unknown key {str(key)!r}; {hint}")
        if key in found:
            raise OptionError(f"{where}: {key} is given twice")
        found[key] = _checked(value, type(known[key].default), f"{where}: {key}")
    return found


def merge(*layers: Mapping[str, Any]) -> RunConfig:
    """The run that layers of keys describe; later layers win.

    Raises:
        OptionError: an unknown model, or a value outside its range.
    """
    told = {key: value for layer in layers for key, value in layer.items()}
    places = Places(**{f.name: told[f.name] for f in fields(Places) if f.name in told})
    kind = places.model.partition("(")[0].strip()
    if kind not in RECIPES:
        raise OptionError(f"unknown model {places.model[:80]!r}; there are {', '.join(RECIPES)}")
    options = {f.name: told[f.name] for f in fields(TrainOptions) if f.name in told}
    handling = {f.name: told[f.name] for f in fields(Handling) if f.name in told}
    return RunConfig(places, replace(RECIPES[kind], **options), Handling(**handling))


def _entries(text: str, name: str) -> Iterator[tuple[Any, Any, str]]:
    """Key, value and place of each line of a flat mapping."""
    try:
        import yaml
    except ImportError:
        raise OptionError(
            "reading a configuration needs PyYAML: pip install soundspot[train]"
        ) from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return
        if not isinstance(root, yaml.MappingNode):
            raise OptionError(f"{name}: a configuration is lines of `key: value`")
        for key, value in root.value:
            line = key.start_mark.line + 1
            yield _plain(loader, key), _plain(loader, value), f"{name}, line {line}"
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise OptionError(f"{name}: cannot be read as YAML ({one_line(error)[:200]})") from None


def _written(value: Any) -> str:
    """A value as YAML; a list of one as that one."""
    if isinstance(value, tuple):
        texts = [_written(one) for one in value]
        return f"[{', '.join(texts)}]" if len(texts) > 1 else (*texts, '""')[0]
    if isinstance(value, str):
        return f'"{"".join(map(_letter, value))}"'
    return json.dumps(value)


def _letter(letter: str) -> str:
    """As in JSON, but beyond 16 bits: there JSON writes two halves, which YAML does not join."""
    return f"\\U{ord(letter):08x}" if letter > "\uffff" else json.dumps(letter)[1:-1]


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    return loader.construct_object(node, deep=True)


def _checked(value: Any, kind: type, where: str) -> Any:
    """A value as the option's own type; also a number that YAML takes for text, such as 1e-3."""
    if kind is tuple:
        several = value if isinstance(value, list) else [value]
        return tuple(word for one in several if (word := _checked(one, str, where)))
    if kind is float and not isinstance(value, bool) and isinstance(value, int | float | str):
        try:
            return float(value)
        except ValueError:
            pass
    elif kind is str and (value is None or isinstance(value, str | int | float)):
        return "" if value is None else str(value)
    elif type(value) is kind:
        return value
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    raise OptionError(f"{where} is {wanted}, not {value!r}")
