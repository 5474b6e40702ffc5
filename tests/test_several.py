"""Several sources: a planted space where two things with two sounds are known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import soundspot
from soundspot import several
from soundspot.errors import MethodError, OptionError
from soundspot.facts import Calibration, ModelFacts
from soundspot.locating import Locator
from soundspot.media.image import STRIDE, proportions
from soundspot.models import Clusters, TwoTower
from soundspot.models.clusters import ClustersConfig
from soundspot.models.pixel_sound import PixelSound, PixelSoundConfig
from soundspot.models.two_tower import SCALE, TwoTowerConfig
from soundspot.several.counting import DISTINCT, count_sources
from soundspot.several.factorising import factorise
from soundspot.several.scene import Scene
from soundspot.several.space import Heard, encode, hear_windows, matches, similarities
from soundspot.several.spectra import masked, spectrum, wiener
from soundspot.several.territories import territory_masks
from soundspot.several.territory_fit import Territories, fit_territories, weighted_means
from soundspot.several.time_shares import masks_of_shares
from soundspot.several.two_blobs import blobs

RATE = 16_000
HEIGHT, WIDTH = 6, 12
LEFT, RIGHT = (slice(1, 4), slice(1, 4)), (slice(2, 5), slice(8, 11))
"""Where the two things are, on the grid of positions."""


class Planted:
    """A space of four channels: thing 0, thing 1, ground, and what any sound has."""

    def hear(self, sounds: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def encode_images(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def match(self, positions: Tensor, q: Tensor) -> Tensor:
        return torch.einsum("bdhw,bd->bhw", positions, q)

    def pool(self, maps: Tensor) -> Tensor:
        return maps.flatten(-2).topk(3, -1).values.mean(-1)

    def expect(self, q: Tensor) -> Tensor:
        return q[:, 3] * 0.1


def positions(frames: int = 1) -> Tensor:
    """A wide picture with thing 0 at LEFT and thing 1 at RIGHT; each frame is the same."""
    p = torch.zeros(frames, 4, HEIGHT, WIDTH)
    p[:, 2] = 0.3
    for channel, place in enumerate((LEFT, RIGHT)):
        p[(slice(None), slice(None), *place)] = 0
        p[(slice(None), channel, *place)] = 0.9
    return p


def heard(*rows: tuple[float, float]) -> Heard:
    """Windows of how much of each thing is heard, and a last row of all of it."""
    q = torch.tensor([[a, b, 0.0, 0.2] for a, b in rows])
    whole = q.mean(0, keepdim=True)
    times = torch.arange(len(rows) + 1).float()
    return Heard(torch.cat((q, whole)), torch.full((len(rows) + 1,), 3.0), times)


def fitted(*rows: tuple[float, float], count: int = 2, frames: int = 1) -> Territories:
    found = fit_territories(Planted(), positions(frames), heard(*rows), count)
    assert found is not None
    return found


def test_things_that_sound_by_turns_are_told_apart() -> None:
    found = fitted((1, 0), (0, 1), (0.8, 0), (0, 0.6))
    here = found.labels[0]
    first, second = int(here[LEFT][0, 0]), int(here[RIGHT][0, 0])
    assert first != second
    assert (here[LEFT] == first).all()
    assert (here[RIGHT] == second).all()
    assert found.voices[first, 0] > 0.8 > 0.1 > found.voices[first, 1]
    assert found.voices[second, 1] > 0.6 > 0.1 > found.voices[second, 0]
    assert found.shares[first, 0] > 0.99 > 0.01 > found.shares[first, 1]
    assert found.similarities[0] >= found.similarities[1]


def test_distinctness_is_how_far_each_prefers_its_own_voice() -> None:
    found = fitted((1, 0), (0, 1))
    p, q = positions(), found.voices
    maps = torch.stack([Planted().match(p, row[None])[0] for row in q])
    own = [maps[:, found.labels[0] == k][:, None] for k in range(2)]
    pooled = torch.stack([Planted().pool(part) for part in own])
    prefers = pooled[0, 0] - pooled[0, 1] + pooled[1, 1] - pooled[1, 0]
    assert found.least_distinct == pytest.approx(float(SCALE * prefers), rel=1e-4)
    assert found.least_distinct > DISTINCT


def test_one_sound_that_fits_two_things_has_one_voice() -> None:
    """Both are matched all the while: nothing says that there are two sounds."""
    found = fitted((0.7, 0.7), (0.5, 0.5), (0.6, 0.6))
    assert found.least_distinct == pytest.approx(0, abs=1e-4)


def test_one_territory_is_all_of_the_picture() -> None:
    found = fitted((1, 0), (0, 1), count=1)
    assert not found.labels.any()
    assert found.least_distinct == math.inf
    torch.testing.assert_close(found.shares, torch.ones(1, 3))


def test_frames_of_a_clip_share_their_sources() -> None:
    found = fitted((1, 0), (0, 1), frames=3)
    assert (found.labels == found.labels[:1]).all()
    torch.testing.assert_close(found.similarities, fitted((1, 0), (0, 1)).similarities)


def test_a_picture_without_room_says_so() -> None:
    flat = torch.zeros(1, 4, 2, 2)
    assert fit_territories(Planted(), flat, heard((1, 0), (0, 1)), 4) is None


def test_weighted_means_are_lloyds_and_weigh() -> None:
    """Three points on a line: the two near ones share a centre, nearer to the heavier."""
    known, weights = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([3.0, 1.0, 1.0])
    centres = weighted_means(known, weights, 2).flatten().sort().values
    torch.testing.assert_close(centres, torch.tensor([0.25, 9.0]))


def test_masks_of_territories_cover_every_pixel_once() -> None:
    masks = territory_masks(torch.tensor([[0, 1], [2, 1]]), 3, (7, 9))
    assert (masks.sum(0) == 1).all()
    assert masks[0, 0, 0]
    assert masks[2, -1, 0]
    assert masks[1, :, -1].all()


def test_factors_of_a_product_rebuild_it_and_name_its_parts() -> None:
    w, h = torch.zeros(6, 2), torch.zeros(2, 8)
    w[:3, 0], w[3:, 1] = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 1.0, 1.0])
    h[0, :4], h[1, 3:] = 1.0, torch.linspace(1, 2, 5)
    found_w, found_h = factorise(w @ h, 2, rounds=500)
    assert float((found_w @ found_h - w @ h).norm() / (w @ h).norm()) < 0.02
    owner = found_w.argmax(1)
    assert owner[0] != owner[-1]
    assert (owner[:3] == owner[0]).all()
    assert (owner[3:] == owner[-1]).all()


def test_factorising_never_gets_worse_and_repeats_itself() -> None:
    x = torch.rand(12, 20, generator=torch.Generator().manual_seed(0))
    errors = []
    for rounds in (0, 1, 5, 20):
        w, h = factorise(x, 3, rounds)
        errors.append(float((x - w @ h).square().sum()))
    assert errors == sorted(errors, reverse=True)
    assert torch.equal(factorise(x, 3)[0], factorise(x, 3)[0])


def test_blobs_are_the_two_largest_and_pixels_go_to_the_nearest() -> None:
    values = np.zeros((20, 40), np.float32)
    values[5:12, 4:12], values[8:14, 26:34], values[1, 38] = 1.0, 0.7, 0.9
    owners = blobs(values, 2)
    assert owners is not None
    assert (owners[:, :15] == 0).all()
    assert (owners[8:14, 24:36] == 1).all()
    assert blobs(np.ones((9, 9), np.float32), 2) is None


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((300, 300), (384, 384)), ((256, 608), (256, 576)), ((608, 256), (576, 256))],
)
def test_proportions_are_kept_at_the_same_cost(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    assert proportions(size, 384) == wanted


@pytest.mark.parametrize("size", [(10, 4000), (4000, 10), (77, 333)])
def test_proportions_of_odd_pictures(size: tuple[int, int]) -> None:
    height, width = proportions(size, 384)
    assert height % STRIDE == width % STRIDE == 0
    assert 0.75 < height * width / 384**2 < 1.3


def toy(kind: str = "two_tower") -> TwoTower | Clusters | PixelSound:
    torch.manual_seed(0)
    facts = ModelFacts(
        name=kind, size=96, seconds=3.0, method="similarity_map", calibration=Calibration()
    )
    if kind == "clusters":
        return Clusters(ClustersConfig(embedding=8, clusters=3, space=4), facts).eval()
    if kind == "pixel_sound":
        return PixelSound(PixelSoundConfig(components=6), facts).eval()
    return TwoTower(TwoTowerConfig(embedding=8, hidden=8), facts).eval()


def picture(height: int = 40, width: int = 90) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def two_tones(seconds: float = 3.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A low tone, then a high one."""
    t = np.arange(round(seconds * RATE)) / RATE
    low = np.where(t < seconds / 2, np.sin(2 * np.pi * 400 * t), 0) * 0.4
    high = np.where(t >= seconds / 2, np.sin(2 * np.pi * 2500 * t), 0) * 0.4
    return low.astype(np.float32), high.astype(np.float32)


def scene(model: TwoTower | Clusters | PixelSound, *, listen: bool = False) -> Scene:
    low, high = two_tones()
    return Scene(Locator(model, device="cpu"), (picture(),), low + high, listen=listen)


def test_the_space_answers_as_the_model_does() -> None:
    model, here = toy(), scene(toy())
    assert isinstance(model, TwoTower)
    with torch.no_grad():
        shared, p, windows = encode(here, "test")
        maps = matches(shared, p, windows.q[-1:])[:, 0]
        ours = similarities(shared, shared.pool(maps), windows.q[-1:], windows.audible[-1:])
        theirs = model.fix_sound(here.sounds).own_map(here.images)
    torch.testing.assert_close(maps, theirs.maps)
    torch.testing.assert_close(ours, theirs.similarities)


def test_silent_windows_are_not_heard() -> None:
    model = toy()
    assert isinstance(model, TwoTower)
    low, _ = two_tones()
    here = Scene(Locator(model, device="cpu"), (picture(),), low)
    with torch.no_grad():
        windows = hear_windows(model, here)
    assert windows.times[:-1].tolist() == [0.5, 1.0, 1.5]
    assert len(windows.q) == 4


def test_sounds_by_turns_are_separated() -> None:
    """Moments are told apart, and what is loud in each goes to its source."""
    low, high = two_tones()
    here = scene(toy())
    times = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5, 1.5])
    first = (times < 1.5).float() + (times == 1.5).float() / 2
    masks = masks_of_shares(here, torch.stack((first, 1 - first)), times)
    for mask, own, other in zip(masks, (low, high), (high, low), strict=True):
        found = masked(here, mask)
        assert float(found @ own) > 0.9 * float(own @ own)
        assert abs(float(found @ other)) < 0.1 * float(other @ other)


def test_wiener_masks_sum_to_one() -> None:
    here = scene(toy())
    parts = torch.rand(3, *spectrum(here).shape)
    total = np.sum([mask.values for mask in wiener(here, parts)], axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize("name", several.APPROACHES)
def test_every_approach_answers(name: str) -> None:
    approach = several.parse_approach(name)
    model = toy(approach.model if approach.model != "default" else "two_tower")
    low, high = two_tones()
    sound = (low + high, RATE)
    found = several.locate_sources(
        model, picture(), sound, 2, name, listen=approach.separates, device="cpu"
    )
    assert 1 <= len(found) <= 2
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    for one in found:
        assert one.result.map.shape == (40, 90)
        assert np.isfinite(one.result.map).all()
        assert 0 <= one.result.confidence <= 1
        assert (one.sound is not None) == approach.separates
        if one.sound is not None:
            assert one.sound.samples.shape == low.shape
    confidences = [one.result.confidence for one in found]
    assert confidences == sorted(confidences, reverse=True)
    again = several.locate_sources(model, picture(), sound, 2, name, device="cpu")
    assert all((a.result.map == b.result.map).all() for a, b in zip(found, again, strict=True))


def test_one_source_is_the_ordinary_answer() -> None:
    model = toy()
    low, high = two_tones()
    (one,) = several.locate_sources(model, picture(96, 96), (low + high, RATE), 1, device="cpu")
    plain = soundspot.locate(model, picture(96, 96), (low + high, RATE), device="cpu")
    np.testing.assert_allclose(one.result.map, plain.map, atol=1e-6)
    assert one.result.confidence == pytest.approx(plain.confidence, abs=1e-6)


def test_silence_has_no_source() -> None:
    silent = (np.zeros(RATE, np.float32), RATE)
    assert several.locate_sources(toy(), picture(), silent, device="cpu") == []
    for one in several.locate_sources(toy(), picture(), silent, 2, device="cpu"):
        assert one.result.confidence == 0
        assert one.result.boxes == []


def test_auto_never_answers_what_is_not_visible() -> None:
    low, high = two_tones()
    sound = (low + high, RATE)
    assert several.locate_sources(toy(), picture(), sound, visible=1.0, device="cpu") == []


def test_counting_believes_distinct_territories_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tones by turns, over two things: 2. Both things in every tone: 1."""
    here = scene(toy())
    p = positions()
    for rows, wanted in ((((1, 0), (0, 1)), 2), (((0.7, 0.7), (0.6, 0.6)), 1)):
        planted = (Planted(), p, heard(*rows))
        monkeypatch.setattr("soundspot.several.counting.encode", lambda *_, x=planted: x)
        assert count_sources(replace(here, locator=Locator(here.locator.model))) == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": 0}, "sources is auto or 1 to 4"),
        ({"sources": 9}, "sources is auto or 1 to 4"),
        ({"sources": "2"}, "sources is auto or 1 to 4, got '2'"),
        ({"approach": "teritories"}, "unknown approach 'teritories'; there are territories"),
        ({"approach": "teritories"}, r"did you mean territories\?$"),
        ({"approach": ["territories"]}, "unknown approach"),
        ({"approach": "channels", "listen": True}, "does not separate sounds; these do"),
    ],
)
def test_refusals(change: dict[str, object], message: str) -> None:
    low, _ = two_tones()
    with pytest.raises(OptionError, match=message):
        several.locate_sources(toy(), picture(), (low, RATE), **change)  # type: ignore[arg-type]


def test_models_that_cannot_are_refused_by_name() -> None:
    low, _ = two_tones()
    sound = (low, RATE)
    with pytest.raises(MethodError, match="needs the clusters model, and two_tower is another"):
        several.locate_sources(toy(), picture(), sound, 2, "model_clusters", device="cpu")
    with pytest.raises(MethodError, match="needs the pixel_sound model"):
        several.locate_sources(toy(), picture(), sound, 2, "pixel_masks", device="cpu")
    with pytest.raises(MethodError, match="auto needs a model in whose space"):
        several.locate_sources(toy("clusters"), picture(), sound, device="cpu")


def test_a_clip_keeps_its_sources() -> None:
    low, high = two_tones()
    frames = [picture() for _ in range(20)]
    clip = several.sources_of_clip(toy(), frames, (low + high, RATE), 2, device="cpu")
    assert len(clip) == 2
    assert len(clip.scene.pictures) == 16
    assert clip.active.shape == (2, len(clip.times))
    assert ((clip.active >= 0) & (clip.active.sum(0) <= 1 + 1e-6)).all()
    a, b = clip.locate(frames[0]), clip.locate(frames[-1])
    assert [one.number for one in a] == [one.number for one in b] == [1, 2]
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.result.map, other.result.map)
    np.testing.assert_allclose(clip.activity(float(clip.times[0])), clip.active[:, 0])


def test_a_clip_needs_frames_of_one_size() -> None:
    low, _ = two_tones()
    with pytest.raises(soundspot.SoundspotError, match="no frame"):
        several.sources_of_clip(toy(), [], (low, RATE), 2)
    with pytest.raises(OptionError, match="frames of one size"):
        several.sources_of_clip(toy(), [picture(), picture(50, 50)], (low, RATE), 2)


def test_the_drawing_shows_each_source_in_its_colour(tmp_path: Path) -> None:
    low, high = two_tones()
    grey = np.full((80, 160, 3), 90, np.uint8)
    found = several.locate_sources(
        toy(), grey, (low + high, RATE), 2, "two_blobs", visible=0.0, device="cpu"
    )
    bare = several.draw(grey, [])
    assert (bare[:40] == 90).all()
    several.save(tmp_path / "x.png", grey, found)
    assert (tmp_path / "x.png").stat().st_size > 0
