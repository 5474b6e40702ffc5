"""What every data set is: a folder laid out in a known way, read as `Sample`s one by one.

A data set is a frozen dataclass: where it lies, and options with defaults. It yields its samples
in the order of its list, each exactly once. Nothing is skipped in silence: a sample whose media
are missing is still yielded (whoever reads it finds out, names it and counts it), one whose boxes
are unusable has none, one whose truth is malformed says why (`Sample.broken`), and no sample ever
stands in for another. `check` looks at all of it before a long run does.

    data = open_data("vgg_ss:/data/vggss?split=heard")
    for sample in data.samples(): ...
    for line in data.check().lines(): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from soundspot.data.check import Check, Checker, Notes
from soundspot.errors import DataError, OptionError
from soundspot.types import Sample


def option(default: Any, says: str, choices: Iterable[str] = ()) -> Any:
    """A field that users may set: `NAME:ROOT?option=value`; `says` is its help."""
    return field(default=default, metadata={"help": says, "choices": tuple(choices)})


@dataclass(frozen=True)
class Dataset(ABC):
    """A data set at `root`; options are the fields of its class.

    Subclasses are final, and say `name` (what users type), `sentence`, `source` (where a person
    gets it) and `layout` (what must lie under `root`).
    """

    root: Path

    name: ClassVar[str]
    sentence: ClassVar[str]
    source: ClassVar[str]
    layout: ClassVar[str]

    def __post_init__(self) -> None:
        """Check options that are one of several words, and that the root is there."""
        object.__setattr__(self, "root", Path(self.root))
        for known in self.options():
            value, choices = getattr(self, known.name), known.metadata["choices"]
            if choices and value not in choices:
                raise OptionError(
                    f"{self.name}: {known.name}={value!r}; use one of {', '.join(choices)}"
                )
        if not self.root.exists():
            raise DataError(f"{self.root} does not exist; {self.expects()}")

    @abstractmethod
    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield the samples in list order, and note what is odd or missing.

        Raises:
            DataError: a list is missing or broken, or the truth of all; the message names file
                and line.
        """

    def samples(self) -> Iterator[Sample]:
        """Yield the samples one by one, in list order.

        Raises:
            DataError: as `read`; samples before the bad line have been yielded by then.
        """
        return self.read(Notes())

    def check(
        self, *, decode: bool = False, watch: Callable[[Iterable[Sample]], Iterable[Sample]] = iter
    ) -> Check:
        """Read the whole set, open every media file once, and report.

        Args:
            decode: decode sounds and videos to their end, instead of their first moments.
            watch: wraps the samples, to show progress.

        Raises:
            DataError: as `samples`.
        """
        return Checker(self, decode).run(watch)

    @classmethod
    def options(cls) -> list[Field[Any]]:
        """The fields that users may set."""
        return [known for known in fields(cls) if known.name != "root"]

    @classmethod
    def opened(cls, root: str | Path, options: Mapping[str, str]) -> Self:
        """Build from words: `{"split": "heard"}`.

        Raises:
            OptionError: an unknown option, or a value of the wrong kind.
        """
        known = {f.name: f for f in cls.options()}
        values: dict[str, Any] = {}
        for name, text in options.items():
            if name not in known:
                have = ", ".join(known) or "none"
                raise OptionError(f"{cls.name} has no option {name!r}; it has {have}")
            kind: Callable[[str], Any] = type(known[name].default)
            try:
                values[name] = kind(text)
            except ValueError as error:
                raise OptionError(f"{cls.name}: {name}={text!r} must be a number") from error
        return cls(Path(root), **values)

    @classmethod
    def expects(cls) -> str:
        """What must be where, and where to get it, in half a sentence."""
        return f"{cls.name} wants {cls.layout}; get it from {cls.source}"

    def list_file(self, name: str) -> Path:
        """A list or truth under the root, or anywhere, where an absolute path is given.

        Raises:
            DataError: it is not there.
        """
        path = self.root / name
        if not path.exists():
            raise DataError(f"{path} is missing; {self.expects()}")
        return path

    def __str__(self) -> str:
        """What `open_data` takes."""
        changed = [f for f in self.options() if getattr(self, f.name) != f.default]
        words = "&".join(f"{f.name}={getattr(self, f.name)}" for f in changed)
        return f"{self.name}:{self.root}" + (f"?{words}" if words else "")


def find_media(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path:
    """The file of that stem with the first of the suffixes that is there; else with the first."""
    candidates = [folder / (stem + suffix) for suffix in suffixes]
    return next((path for path in candidates if path.exists()), candidates[0])
