"""What `soundspot.metrics` offers is all there and all described."""

import re
from pathlib import Path

import soundspot.metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


def test_every_public_name_is_described():
    described = set(re.findall(r"`(\w+)", PAGE.read_text()))
    assert set(soundspot.metrics.__all__) <= described
    assert all(getattr(soundspot.metrics, name) is not None for name in soundspot.metrics.__all__)


def test_every_family_has_its_line():
    files = {path.stem for path in Path(soundspot.metrics.__file__).parent.glob("*.py")}
    page = PAGE.read_text()
    for family in files - {"__init__"}:
        assert f"`{family}`" in page
        assert f"| `{family}` |" in (soundspot.metrics.__doc__ or "")
