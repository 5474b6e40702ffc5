"""Method strings: they come back as they were, and nothing in them ever runs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundspot.errors import OptionError
from soundspot.localize import (
    METHODS,
    Combined,
    GradCam,
    GuidedBackprop,
    InputGradient,
    Method,
    MultiScale,
    Occlusion,
    SimilarityMap,
    parse,
    parse_many,
)
from soundspot.localize.pixels import REDUCTIONS

fractions = st.floats(0, 1, allow_nan=False)
pixels = st.fixed_dictionaries(
    {},
    optional={
        "reduce": st.sampled_from(list(REDUCTIONS)),
        "blur": fractions,
        "samples": st.integers(0, 1000),
        "noise": st.floats(0, 1, exclude_min=True),
    },
)
occlusions = st.integers(1, 1000).flatmap(
    lambda patch: st.builds(
        Occlusion,
        patch=st.just(patch),
        stride=st.integers(1, patch),
        fill=st.one_of(st.just("mean"), fractions, st.sampled_from([0, 1])),
    )
)
simple: st.SearchStrategy[Method] = st.one_of(
    st.just(SimilarityMap()),
    st.just(GradCam()),
    pixels.map(lambda options: InputGradient(**options)),
    pixels.map(lambda options: GuidedBackprop(**options)),
    occlusions,
)
any_method: st.SearchStrategy[Method] = st.recursive(
    simple,
    lambda parts: st.one_of(
        st.lists(parts, min_size=2, max_size=4).map(lambda m: Combined(*m)),
        st.builds(
            lambda part, scales: MultiScale(part, scales=scales),
            parts,
            st.lists(st.floats(0.01, 4), min_size=2, max_size=3),
        ),
    ),
)


@given(any_method)
def test_a_method_is_its_string(method: Method) -> None:
    again = parse(repr(method))
    assert again == method
    assert type(again) is type(method)
    assert repr(again) == repr(method)
    assert hash(again) == hash(method)


@given(st.lists(any_method, min_size=1, max_size=4))
def test_many_methods(methods: list[Method]) -> None:
    assert parse_many(", ".join(map(repr, methods))) == methods


def test_defaults_are_left_out() -> None:
    for name in METHODS:
        if not METHODS[name].parts:
            assert repr(parse(name)) == name
            assert parse(f"{name}()") == parse(f" {name} ")
    assert repr(parse("occlusion( patch = 48,stride=32 )")) == "occlusion(patch=48)"
    weighed = "combined(similarity_map, grad_cam, weights=(1, 2.5), blur=0.06, scaling='deviation')"
    assert repr(parse(weighed)) == weighed
    assert parse(weighed) == parse(weighed.replace("(1, 2.5)", "[1, 2.5]"))
    assert repr(parse("combined(similarity_map,occlusion(patch=48))")) == (
        "combined(similarity_map, occlusion(patch=48))"
    )
    assert repr(parse("multi_scale( grad_cam,scales=(1, .4375))")) == "multi_scale(grad_cam)"
    assert Occlusion(patch=64) == Occlusion() != Occlusion(fill=0.0)


def refused(text: str) -> str:
    with pytest.raises(OptionError) as error:
        parse(text)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('false')",
        "occlusion(patch=__import__('os'))",
        "occlusion(patch=(lambda: 1)())",
        "occlusion(patch=[1 for _ in range(9)][0])",
        "occlusion(patch=open('/etc/hostname'))",
        "occlusion.__class__",
        "occlusion.__init__(patch=3)",
        "occlusion()()",
        "occlusion(**{'patch': 3})",
        "combined(*[occlusion, grad_cam])",
        "occlusion(fill=f'{1}')",
        "occlusion(patch=1 if True else 2)",
        "occlusion(patch=2**999999999)",
        "occlusion(patch={[]: 1})",
        "occlusion(patch={**{}})",
        "occlusion(patch=nan)",
        "occlusion(patch=x)",
        "occlusion(patch=1, patch=2)",
        "occlusion(patch:=3)",
        "occlusion; grad_cam",
        "occlusion\nimport os",
        "occlusion, grad_cam",
        "METHODS['occlusion']",
        "'occlusion'",
        "5",
        "",
        "   ",
        "occlusion(",
        "occlusion)",
        "\0",
        "occlusion\0",
        "\ud800",
        "(" * 100_000,
        "-" * 100_000 + "1",
        "occlusion(patch=" + "-" * 3000 + "1)",
        "occlusion(patch=" + "[" * 150 + "]" * 150 + ")",
        "combined(" * 150 + "grad_cam" + ")" * 150,
        "a" * 1_000_000,
        "occlusion(patch=" + "9" * 100_000 + ")",
        "occlusion(" + "b" * 100_000 + "=1)",
        "combined(" + "grad_cam, " * 3 + "occlusion(patch=0))",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_nothing_runs_and_everything_is_explained(text: str) -> None:
    refused(text)


@given(st.text(max_size=30))
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_any_text_is_a_method_or_refused(text: str) -> None:
    with contextlib.suppress(OptionError):
        assert parse(text).name in METHODS


def test_unknown_names() -> None:
    message = refused("gradcam")
    assert message.startswith("unknown method 'gradcam'; there are similarity_map, ")
    assert refused("grad_cmm").endswith("; did you mean grad_cam?")
    assert "did you mean" not in refused("zzz")
    message = refused("occlusion(size=3)")
    assert message == "occlusion does not take 'size'; its options are patch, stride, fill"
    assert "scaling is one of range, deviation" in refused(
        "combined(grad_cam, grad_cam, scaling=1)"
    )
    for wrong in ("multi_scale", "multi_scale(grad_cam, grad_cam)"):
        assert "give one method, as in multi_scale(guided_backprop)" in refused(wrong)
    for scales in ("(1,)", "(1, 0)", "(1, 5)", "2", "(1, True)", "'ab'"):
        assert "two or more numbers above 0" in refused(f"multi_scale(grad_cam, scales={scales})")
    assert "it has no options" in refused("grad_cam(layer='conv4')")
    assert "does not take 'grad_cam'" in refused("occlusion(grad_cam)")
    assert "does not take 'name'" in refused("occlusion(name='x')")
    assert "its options are weights, blur" in refused("combined(grad_cam, occlusion, weight=2)")
    for bad in (
        "weights=2",
        "weights=(1,)",
        "weights=(1, 0)",
        "weights=(1, 'a')",
        "weights=(1, 1e999)",
    ):
        assert "one a method" in refused(f"combined(grad_cam, occlusion, {bad})")
    for bad in ("blur=-1", "blur=2", "blur=True", "blur='a'"):
        assert "blur is a fraction" in refused(f"combined(grad_cam, occlusion, {bad})")
    for text in ("combined", "combined()", "combined(grad_cam)"):
        assert "two or more methods" in refused(text)


WRONG = [
    *("x", 1.5, True, False, None, float("nan"), -1, 0, "", b"1", (1,), [1], 1j, float("inf"), ...),
]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_values_of_the_wrong_type_or_range(value: object) -> None:
    """The same from Python and, where it can be written as a literal, from a string."""
    for kind, option, allowed in (
        (Occlusion, "patch", ()),
        (Occlusion, "stride", ()),
        (Occlusion, "fill", (0,)),
        (InputGradient, "reduce", ()),
        (InputGradient, "blur", (0,)),
        (GuidedBackprop, "samples", (0,)),
        (GuidedBackprop, "noise", ()),
    ):
        fine = not isinstance(value, bool) and value in allowed
        if fine:
            assert getattr(kind(**{option: value}), option) == value
            continue
        with pytest.raises(OptionError) as error:
            kind(**{option: value})
        assert str(error.value).startswith(f"{kind.name}: {option} ")
        assert "\n" not in str(error.value)
        if repr(value) not in {"nan", "inf"}:
            assert refused(f"{kind.name}({option}={value!r})")


def test_ranges() -> None:
    assert "stride is a whole number, 1 to patch" in refused("occlusion(patch=8, stride=9)")
    assert "blur is a fraction" in refused("input_gradient(blur=1.01)")
    assert "samples is a whole number, 0 to 1000" in refused("guided_backprop(samples=1001)")
    assert "patch is a whole number" in refused("occlusion(patch=1e999)")
    assert parse("occlusion(patch=1, stride=1, fill=1)").fill == 1  # type: ignore[attr-defined]


def test_methods_are_frozen_and_say_what_they_are() -> None:
    for name, kind in METHODS.items():
        assert kind.name == name
        assert kind.summary.endswith(".")
        assert kind.needs
        assert kind.__doc__
    with pytest.raises(AttributeError):
        parse("occlusion").patch = 3  # type: ignore[attr-defined]
    with pytest.raises(OptionError):
        Combined(GradCam(), "occlusion")  # type: ignore[arg-type]
