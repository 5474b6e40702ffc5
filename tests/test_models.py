"""The models of the paper: their equations against slow, plain forms; the laws; their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.errors import ModelError, OptionError
from soundspot.facts import ModelFacts
from soundspot.localize import parse
from soundspot.locating import Locator
from soundspot.losses.cluster_margin import margin_losses
from soundspot.losses.distance_ratio import distance_ratios
from soundspot.losses.mix_and_separate import goes_with, level, louder, strangers_losses
from soundspot.losses.objective import both_ways, first_of_scenes
from soundspot.models import MODELS, Attention, Clusters, Fusion, PixelSound, SimilarityModel
from soundspot.models.clusters import ClustersConfig, centres, squash
from soundspot.models.pixel_sound import PixelSoundConfig
from soundspot.ranks import Ranks
from soundspot.similarity import OffersFeatureStrength, check_model, fix_sound
from soundspot.watch import frozen

SIDE = 96
METHODS = (
    "similarity_map",
    "input_gradient",
    "guided_backprop",
    "grad_cam",
    "occlusion(patch=32, stride=32)",
    "combined(similarity_map, guided_backprop)",
)


def awake(model: SimilarityModel) -> SimilarityModel:
    """Random weights that keep signals alive through all layers (He et al., ICCV 2015)."""
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
    return model.eval()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> SimilarityModel:
    return awake(MODELS[request.param].from_config({}, ModelFacts(request.param, size=SIDE)))


@pytest.fixture(scope="module")
def pairs() -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, SIDE, SIDE, generator=dice)
    return images, 0.1 * torch.randn(2, 24_000, generator=dice)


def test_the_laws_hold(model: SimilarityModel, pairs: tuple[Tensor, Tensor]) -> None:
    check_model(model, *pairs)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_works(
    model: SimilarityModel, pairs: tuple[Tensor, Tensor], method: str
) -> None:
    with frozen(model):
        maps, similarities = parse(method).explain(fix_sound(model, pairs[1]), pairs[0])
    assert maps.shape[0] == 2
    assert maps.isfinite().all()
    if method != "grad_cam":  # it shows what speaks for the pair, and here nothing may
        assert (maps.flatten(1).std(1) > 0).all()
    torch.testing.assert_close(similarities, model(*pairs).detach(), rtol=1e-4, atol=1e-5)


def test_the_own_map_comes_from_the_same_pass(
    model: SimilarityModel, pairs: tuple[Tensor, Tensor]
) -> None:
    question = model.fix_sound(pairs[1])
    evidence = question.own_map(pairs[0])
    assert evidence.maps.shape == (2, SIDE // 16, SIDE // 16)
    torch.testing.assert_close(evidence.similarities, model(*pairs))
    swapped = question.of([1, 0]).own_map(pairs[0])
    assert not torch.allclose(swapped.maps, evidence.maps)  # it changes with the sound


def test_salience_is_deaf(model: SimilarityModel, pairs: tuple[Tensor, Tensor]) -> None:
    assert isinstance(model, OffersFeatureStrength)
    assert model.feature_strength(pairs[0]).shape == (2, SIDE // 32, SIDE // 32)


@pytest.mark.parametrize("method", METHODS)
def test_none_of_none(model: SimilarityModel, method: str, pairs: tuple[Tensor, Tensor]) -> None:
    images, sounds = (part[:0] for part in pairs)
    assert model(images, sounds).shape == (0,)
    found = parse(method)(model, images, sounds)
    some = parse(method)(model, *pairs)
    assert found.maps.ndim == 3
    if method != "grad_cam":  # of none, no layer is the one that is used
        assert found.maps.shape[1:] == some.maps.shape[1:]
    assert len(found.maps) == len(found.similarities) == 0
    for unequal in ((pairs[0], sounds), (images, pairs[1])):
        with pytest.raises(OptionError, match="one sound a picture"):
            model(*unequal)


def test_it_locates_files_worth_of_anything(model: SimilarityModel) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (50, 80, 3), dtype=np.uint8)
    locator = Locator(model, "similarity_map", device="cpu")
    noise = rng.normal(0, 0.1, 20_000).astype(np.float32)
    (found,) = locator.locate([picture], [noise])
    assert found.map.shape == (50, 80)


def test_attention_is_a_softmax_of_rectified_cosines(pairs: tuple[Tensor, Tensor]) -> None:
    model = awake(Attention())
    assert isinstance(model, Attention)
    images, sounds = pairs
    (h,) = model.hear(sounds)
    maps, similarities = model.compare(images, h)
    v = F.relu(model.see(images)).flatten(2)
    for b in range(2):
        cosines = F.cosine_similarity(v[b], h[b][:, None], dim=0)
        weights = (cosines.clamp(min=0) / model.config.temperature).softmax(0)
        torch.testing.assert_close(maps[b].flatten(), weights)
        z = (v[b] / v[b].norm(dim=0).clamp(min=1e-12)) @ weights
        torch.testing.assert_close(
            similarities[b], -(z / z.norm() - h[b]).norm(), rtol=1e-4, atol=1e-5
        )


def test_soft_k_means_is_what_its_equations_say() -> None:
    model = awake(Clusters(ClustersConfig(embedding=6, clusters=3, space=4, rounds=3)))
    assert isinstance(model, Clusters)
    positions = torch.rand(1, 6, 5)
    found, shares = model.cluster(positions)
    u = squash(positions[0].T)
    w = model.project.weight.view(3, 4, 6)
    projected = torch.stack([u @ w[k].T for k in range(3)])
    assigned = torch.full((3, 5), 1 / 3)
    for _ in range(2):
        means = [sum(assigned[k, i] * projected[k, i] for i in range(5)) for k in range(3)]
        cosines = [F.cosine_similarity(projected[k], means[k], dim=1) for k in range(3)]  # type: ignore[arg-type]
        assigned = (model.config.stiffness * torch.stack(cosines)).softmax(0)
    torch.testing.assert_close(shares[0], assigned)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 5))
    torch.testing.assert_close(found[0], projected.transpose(0, 1))
    torch.testing.assert_close(
        centres(found, shares)[0], torch.einsum("kp,kps->ks", assigned, projected)
    )


def test_the_clusters_map_adds_up_to_the_match(pairs: tuple[Tensor, Tensor]) -> None:
    model = awake(Clusters())
    assert isinstance(model, Clusters)
    (sound,) = model.hear(pairs[1])
    maps = model.compare(pairs[0], sound).maps
    matches, shares = model.assignments(pairs[0], sound)
    u, _ = model.cluster(F.relu(model.see(pairs[0])).flatten(2))
    lengths = centres(u, shares.flatten(2)).norm(dim=2)
    torch.testing.assert_close(maps.sum((1, 2)), (matches * lengths).sum(1))


def test_squash_shortens_long_and_keeps_direction() -> None:
    u = torch.tensor([[300.0, 400.0], [0.3, 0.4], [0.0, 0.0]])
    lengths = torch.tensor([50.0, 0.05, 0.0]).tanh()
    torch.testing.assert_close(squash(u).norm(dim=1), lengths)
    torch.testing.assert_close(squash(u)[0], torch.tensor([0.6, 0.8]))


def test_clusters_need_as_many_positions(pairs: tuple[Tensor, Tensor]) -> None:
    many = Clusters(ClustersConfig(clusters=40)).eval()
    with pytest.raises(ModelError, match="the sound has 20 positions, fewer than the 40"):
        many(*pairs)
    some = Clusters(ClustersConfig(clusters=12)).eval()
    with pytest.raises(ModelError, match="the picture has 9 positions"):
        some(pairs[0][..., :48, :48], pairs[1])
    with pytest.raises(ModelError, match="the sound has 2 positions"):
        some(pairs[0], pairs[1][:, :1000])


def test_a_class_activation_map_is_the_logit_before_the_mean(
    pairs: tuple[Tensor, Tensor],
) -> None:
    model = awake(Fusion())
    assert isinstance(model, Fusion)
    maps, similarities = model.compare(pairs[0], *model.hear(pairs[1]))
    torch.testing.assert_close(maps.mean((1, 2)), similarities)


def test_shares_of_sound_are_the_masked_energy(pairs: tuple[Tensor, Tensor]) -> None:
    model = awake(PixelSound(PixelSoundConfig(components=3)))
    assert isinstance(model, PixelSound)
    images, sounds = pairs
    components, loud = model.hear(sounds)
    torch.testing.assert_close(loud.sum((1, 2)), torch.ones(2))
    maps = model.compare(images, components, loud).maps
    mixes = model.look(images)
    mask = (model.weight * mixes[1, :, 2, 3]) @ components[1].flatten(1) + model.bias
    expected = (mask.sigmoid() * loud[1].flatten()).sum()
    torch.testing.assert_close(maps[1, 2, 3], expected)
    assert (maps > 0).all()
    assert (maps < 1).all()


def test_options_out_of_range_are_refused() -> None:
    for name, wrong in (
        ("attention", {"temperature": 0.0}),
        ("clusters", {"clusters": 1}),
        ("fusion", {"hidden": 0}),
        ("pixel_sound", {"components": 0}),
    ):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            MODELS[name].from_config(wrong, ModelFacts(name=name))


def test_losses_fall_to_their_least() -> None:
    distances = torch.full((3, 3), 50.0)
    distances.fill_diagonal_(0.0)
    own = torch.arange(3)
    assert distance_ratios(distances, own).max() < 1e-6
    torch.testing.assert_close(distance_ratios(torch.ones(3, 3), own), torch.full((3,), 0.5))
    matches = torch.zeros(3, 3).fill_diagonal_(10.0)
    assert margin_losses(matches, own, 10.0).tolist() == [0, 0, 0]
    assert margin_losses(matches[1:], own[1:], 10.0).tolist() == [0, 0]
    assert margin_losses(torch.zeros(3, 3), own, 10.0).tolist() == [10, 10, 10]
    assert first_of_scenes(torch.tensor([0, 0, 1, 2, 2, 2, 3])).tolist() == [0, 2, 3, 6]


def test_strangers_are_those_whose_sound_it_is_not() -> None:
    mixed = torch.tensor([True, False, True])
    own_or_partner = torch.tensor([[9.0, 1.0, 9.0], [1.0, 9.0, 1.0], [1.0, 9.0, 9.0]])
    known = goes_with(torch.arange(3), mixed, 3)
    assert known.int().tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert goes_with(torch.tensor([2]), mixed[2:], 3).tolist() == known[2:].tolist()
    losses = strangers_losses(own_or_partner, known)
    torch.testing.assert_close(losses, torch.ones(3))
    noise = torch.full((1, 3), 5.0)  # belongs to nobody
    assert strangers_losses(noise, torch.zeros(1, 3, dtype=torch.bool)).tolist() == [5]
    everyone = torch.ones(2, 2, dtype=torch.bool)
    assert strangers_losses(torch.ones(2, 2), everyone).tolist() == [0, 0]


def test_contrast_both_ways_is_two_cross_entropies() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)) * 40
    right = torch.arange(5)
    wanted = F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)
    torch.testing.assert_close(both_ways(logits, right, Ranks()), wanted)


def test_what_is_louder_is_masked_in() -> None:
    model = PixelSound(PixelSoundConfig(components=2)).eval()
    time = torch.arange(16_000) / 16_000
    low, high = (torch.sin(2 * np.pi * hz * time)[None] for hz in (400.0, 4000.0))
    mask = louder(model, level(low), level(high))
    bands = mask.shape[1]
    assert mask[0, : bands // 4].mean() > 0.9
    assert mask[0, -bands // 3 :].mean() < 0.5
    torch.testing.assert_close(level(low).square().mean().sqrt(), torch.tensor(0.1))
