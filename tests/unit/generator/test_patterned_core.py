"""Under every pattern a real core is causal, knows its frame, and samples what it would predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generator.checkpoints import load_core, save_core
from generator.errors import CheckpointError, RequestError
from generator.lm.core import all_logits
from generator.lm.patterns import COMPARED, Pattern, PatternKind, shift_right, stereo_delay
from generator.lm.sampling import SamplingSettings, head_ranges, sample_codes
from generator.lm.starter import StarterConfig, StarterCore
from generator.text.header import BAR_IDS, BEAT_IDS, encode_header
from tests.tiny import tiny_core

SIZE = 32
PATTERNS: dict[str, Callable[[int, int], Pattern]] = {**COMPARED, "stereo_delay": stereo_delay}
MARCH = encode_header({"style": "march", "frames_per_beat": 10})


def core_of(name: str, n_codebooks: int = 4) -> StarterCore:
    pattern = PATTERNS[name](n_codebooks, SIZE)
    return tiny_core(
        config=StarterConfig(
            width=32,
            n_layers=2,
            n_heads=2,
            delays=pattern.delays,
            pattern=pattern.kind.value,
            codebook_size=SIZE,
            beat_ids=BEAT_IDS,
            bar_ids=BAR_IDS,
            hears_melody=True,
        )
    )


def seconds(batch: int = 1) -> torch.Tensor:
    return torch.tensor([[0.0, 1.0]] * batch)


def logits_of(
    core: StarterCore, codes: torch.Tensor, melody: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns logits [B, K, T, V] of codes [B, K, T], each of what comes before it."""
    batch, _, n_frames = codes.shape
    text = torch.tensor([MARCH] * batch)
    rows = shift_right(core.pattern.build(codes), core.pattern.hole)
    with torch.no_grad():
        condition = core.condition(
            text, torch.ones_like(text), seconds(batch), melody, n_frames=n_frames
        )
        return core.pattern.revert_logits(all_logits(core, core.trunk(rows, condition)), n_frames)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_changed_code_moves_only_what_is_predicted_after_it(name: str) -> None:
    core = core_of(name)
    codes = torch.randint(0, SIZE, (1, 4, 6), generator=torch.Generator().manual_seed(0))
    before, places = logits_of(core, codes), core.pattern.places(6)
    for codebook, frame in ((0, 0), (1, 2), (3, 3), (2, 5)):
        moved = codes.clone()
        moved[0, codebook, frame] = (moved[0, codebook, frame] + 1) % SIZE
        change = (logits_of(core, moved) - before)[0].abs().amax(-1)  # [K, T]
        later = places > places[codebook, frame]
        assert change[~later].max() == 0
        assert (change[later] > 1e-5).all()


@pytest.mark.parametrize("name", PATTERNS)
def test_each_frame_hears_its_own_melody(name: str) -> None:
    core = core_of(name)
    codes = torch.randint(0, SIZE, (1, 4, 6), generator=torch.Generator().manual_seed(0))
    melody = torch.full((1, 6), 3)
    before = logits_of(core, codes, melody)
    melody[0, 2] = 7
    change = (logits_of(core, codes, melody) - before)[0].abs().amax(-1)  # [K, T]
    told = core.pattern.steps(0, core.pattern.n_steps(6), 6)
    first = int((told.frame == 2).nonzero()[0])
    assert (change[core.pattern.places(6) < first] == 0).all()
    assert (change[:, 2] > 1e-5).all()


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_greedy_codes_are_the_best_by_the_logits_of_the_whole(name: str, guidance: float) -> None:
    core = core_of(name)
    text = torch.tensor([MARCH])
    settings = SamplingSettings(guidance=guidance, top_k=1)
    codes = sample_codes(core, text, seconds(), 7, settings, [0])
    rows = shift_right(core.pattern.build(codes), core.pattern.hole)
    empty, mask = core.empty_text(1)
    with torch.no_grad():
        told, untold = (
            all_logits(core, core.trunk(rows, core.condition(ids, mask, seconds(), n_frames=7)))
            for ids in (text, empty)
        )
    logits = core.pattern.revert_logits(untold + guidance * (told - untold), 7)
    assert torch.equal(logits.argmax(-1), codes)
    assert len(codes.unique()) > 3


@pytest.mark.parametrize("name", PATTERNS)
def test_a_clip_goes_on_from_its_beginning_as_it_went_on(name: str) -> None:
    core = core_of(name)
    text, settings = torch.tensor([MARCH]), SamplingSettings(guidance=1.0, temperature=0.7)
    codes = sample_codes(core, text, seconds(), 8, settings, [5])
    if name == "coarse_first":  # the beginning's fine codes come after all coarse ones
        settings = SamplingSettings(guidance=1.0, top_k=1)
        codes = sample_codes(core, text, seconds(), 8, settings, [5])
    again = sample_codes(core, text, seconds(), 8, settings, [5], prefix=codes[:, :, :3])
    assert torch.equal(again, codes)


def test_heads_are_asked_only_for_what_a_step_predicts() -> None:
    wanted = PATTERNS["flattening"](3, SIZE).present(2)
    assert [(r.start, r.stop) for r in head_ranges(wanted)] == [(0, 1), (1, 2), (2, 3)] * 2
    coarse = head_ranges(PATTERNS["coarse_first"](3, SIZE).present(2))
    assert [(r.start, r.stop) for r in coarse] == [(0, 1)] * 2 + [(1, 3)] * 2
    late = head_ranges(PATTERNS["delay"](3, SIZE).present(2))
    assert [(r.start, r.stop) for r in late] == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert [(r.start, r.stop) for r in head_ranges(torch.zeros(1, 3).bool())] == [(0, 0)]


def test_only_patterns_that_take_turns_learn_whose_turn_it_is() -> None:
    turns = {name: core_of(name).turn_embedding for name in PATTERNS}
    assert [name for name, embedding in turns.items() if embedding is not None] == [
        "flattening",
        "coarse_first",
    ]
    embedding = turns["flattening"]
    assert embedding is not None and embedding.num_embeddings == 4


def test_two_passes_need_the_length_of_the_clip() -> None:
    core = core_of("coarse_first")
    text = torch.tensor([MARCH])
    condition = core.condition(text, torch.ones_like(text), seconds())
    with pytest.raises(RequestError, match="2 passes needs n_frames, got None"):
        core.trunk(torch.zeros(1, 4, 4, dtype=torch.long), condition)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_checkpoint_names_its_pattern(name: str, tmp_path: Path) -> None:
    core = core_of(name)
    save_core(core, tmp_path)
    stored = json.loads((tmp_path / "lm.json").read_text())
    assert stored["pattern"] == core.pattern.kind
    assert tuple(stored["delays"]) == core.delays
    assert load_core(tmp_path).pattern == core.pattern


def test_a_checkpoint_that_tells_only_delays_still_loads(tmp_path: Path) -> None:
    save_core(core_of("delay"), tmp_path)
    path = tmp_path / "lm.json"
    stored = json.loads(path.read_text())
    del stored["pattern"]
    path.write_text(json.dumps(stored))
    assert load_core(tmp_path).pattern == Pattern((0, 1, 2, 3), SIZE)
    path.write_text(json.dumps(stored | {"pattern": "spiral"}))
    with pytest.raises(CheckpointError, match=r"pattern is one of .*, got 'spiral'"):
        load_core(tmp_path)
    kind = PatternKind.COARSE_FIRST.value
    path.write_text(json.dumps(stored | {"pattern": kind}))
    with pytest.raises(CheckpointError, match="coarse_first of 4 codebooks has delays"):
        load_core(tmp_path)
