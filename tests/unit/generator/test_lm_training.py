"""Training lowers the loss, listens to text, and goes on after a kill as if nothing happened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from generator.errors import CheckpointError, GeneratorError
from generator.lm.batches import (
    Batch,
    TokenisedClips,
    draw_batch,
    drop_slots,
    full_batch,
    joined,
    melody_window,
    window,
)
from generator.lm.starter import StarterConfig, StarterCore
from generator.lm.training import Trainer, TrainingConfig, rate_share, token_loss
from generator.melody import NOT_TOLD
from generator.text.header import EMPTY_HEADER, HEADER_VOCABULARY, SlotValue, encode_header
from tests.tiny import TINY_CORE, tiny_core

SILENCE = (509, 510)


@pytest.fixture
def clips() -> TokenisedClips:
    """Forty clips of 30 to 69 frames whose codes are told by their style."""
    lengths = np.arange(30, 70)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    styles = HEADER_VOCABULARY.slots[0][1]
    chosen = [styles[index % 8] for index in range(40)]
    first = np.concatenate([np.full(n, i % 8) for i, n in enumerate(lengths)])
    return TokenisedClips(
        codes=np.stack([first * 10, first * 10 + 1]).astype(np.int64),
        silence=np.array(SILENCE),
        headers=np.array([encode_header({"style": style}) for style in chosen]),
        starts=starts,
        n_frames=lengths,
    )


def config(**changes: object) -> TrainingConfig:
    values: dict[str, object] = {
        "minutes": None,
        "max_steps": 30,
        "batch_size": 4,
        "n_frames": 40,
        "n_validation_clips": 8,
        "warmup_steps": 3,
        "log_seconds": 1e9,
        "save_seconds": 1e9,
        "bfloat16": False,
    }
    return TrainingConfig(**(values | changes))  # type: ignore[arg-type]


def trainer(clips: TokenisedClips, folder: Path, **changes: object) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        core=StarterCore(TINY_CORE), clips=clips, config=config(**changes), folder=folder
    )


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs if a is not None or b is not None)


def test_a_window_ends_in_the_codecs_silence(clips: TokenisedClips) -> None:
    codes = window(clips, 3, 30, 6)  # 33 frames: three are left
    assert codes.tolist() == [[30] * 3 + [509] * 3, [31] * 3 + [510] * 3]
    assert window(clips, 3, 0, 5).tolist() == [[30] * 5, [31] * 5]


def test_batches_hold_like_lengths_and_say_where_windows_start(clips: TokenisedClips) -> None:
    rng = np.random.default_rng(0)
    late = 0
    for _ in range(50):
        batch = draw_batch(clips, 40, n_tokens=160, most_frames=40, with_text=True, rng=rng)
        size, _, n_frames = batch.codes.shape
        assert size * n_frames <= 160
        for codes, seconds in zip(batch.codes, batch.seconds, strict=True):
            start, total = (round(float(value) * 25) for value in seconds)
            late += start > 0
            sounding = int((codes[0] != SILENCE[0]).sum())
            assert sounding == min(n_frames, total - start)
    assert late > 5


def test_joined_corpora_keep_every_clips_codes(clips: TokenisedClips) -> None:
    both = joined([clips, clips])
    assert both.n_clips == 80
    for index in (0, 7, 39):
        expected = window(clips, index, 0, 70)
        assert np.array_equal(window(both, index, 0, 70), expected)
        assert np.array_equal(window(both, 40 + index, 0, 70), expected)
    assert np.array_equal(both.headers[:40], both.headers[40:])


def test_validation_clips_are_never_trained_on(clips: TokenisedClips) -> None:
    rng = np.random.default_rng(0)
    longest = 0.0
    for _ in range(100):
        batch = draw_batch(clips, 32, n_tokens=160, most_frames=40, with_text=True, rng=rng)
        longest = max(longest, float(batch.seconds[:, 1].max()))
    assert longest == pytest.approx((30 + 31) / 25)


def test_slots_are_dropped_all_none_and_in_part() -> None:
    told: dict[str, SlotValue] = {"style": "waltz", "tempo": "slow", "root": 60}
    header = np.array(encode_header(told))
    rng = np.random.default_rng(0)
    drawn = [drop_slots(header, rng) for _ in range(2000)]
    empty = np.mean([tuple(h) == EMPTY_HEADER for h in drawn])
    style = np.mean([h[0] == header[0] for h in drawn])
    root = np.mean([h[8] == header[8] for h in drawn])
    assert 0.15 < empty < 0.3
    assert style + 0.1 < root < 0.85
    assert all(a in (b, c) for h in drawn for a, b, c in zip(h, header, EMPTY_HEADER, strict=True))


def test_windows_start_on_bins_of_time_and_carry_their_melody(clips: TokenisedClips) -> None:
    melody = np.arange(clips.codes.shape[1]) % 13
    heard = dataclasses.replace(clips, melody=melody)
    lengths_of_clips = clips.n_frames.tolist()
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(60):
        batch = draw_batch(heard, 32, n_tokens=160, most_frames=40, with_text=True, rng=rng)
        assert batch.melody is not None
        starts = batch.seconds[:, 0] * 25
        starts = starts.round()
        assert torch.all(starts % 5 == 0)
        lengths = (batch.seconds[:, 1] * 25).round().long().tolist()
        for row, start, n_frames in zip(batch.melody, starts.long(), lengths, strict=True):
            if bool((row == NOT_TOLD).all()):
                continue
            told += 1
            index = lengths_of_clips.index(n_frames)
            assert np.array_equal(melody_window(heard, index, int(start), 40), row)
    assert told > 10


def test_the_loss_of_a_silent_core_is_that_of_a_uniform_guess(clips: TokenisedClips) -> None:
    core = StarterCore(TINY_CORE)
    loss = token_loss(core, full_batch(clips, range(4), 40, with_text=True), (1.2, 0.8))
    assert loss.mean_per_codebook.tolist() == pytest.approx([np.log(512)] * 2, rel=1e-5)
    assert float(loss.weighted_mean.detach()) == pytest.approx(np.log(512), rel=1e-5)


def test_the_loss_equals_one_computed_code_by_code(clips: TokenisedClips) -> None:
    core = tiny_core()
    batch = full_batch(clips, range(2), 10, with_text=True)
    condition = core.condition(batch.text, torch.ones_like(batch.text), batch.seconds)
    sums = torch.zeros(2)
    with torch.no_grad():
        rows = torch.full((2, 12, 2), 512)
        rows[:, 1:11, 0], rows[:, 2:12, 1] = batch.codes[:, 0], batch.codes[:, 1]
        hidden = core.trunk(rows[:, :11], condition)
        for clip in range(2):
            for frame in range(10):
                for codebook in range(2):
                    logits = core.lm_heads[codebook](hidden[clip, frame + codebook])
                    code = batch.codes[clip, codebook, frame]
                    sums[codebook] -= logits.log_softmax(-1)[code]
        loss = token_loss(core, batch, (1.2, 0.8))
    assert torch.allclose(loss.mean_per_codebook, sums / 20, atol=1e-4)
    assert float(loss.weighted_mean) == pytest.approx(float(sums @ torch.tensor([1.2, 0.8])) / 40)


def test_training_learns_what_the_text_tells(clips: TokenisedClips, tmp_path: Path) -> None:
    report = trainer(clips, tmp_path, max_steps=120, learning_rate=1e-2).run()
    assert report.steps == 120
    assert report.validation_nll < 3.0
    assert report.validation_nll < report.validation_nll_without_text
    assert (tmp_path / "lm.safetensors").is_file()


def test_pretraining_gives_no_text(clips: TokenisedClips, tmp_path: Path) -> None:
    run = trainer(clips, tmp_path, max_steps=10, pretrain_share=0.5)
    for step in range(10):
        run.step = step
        told = (run.next_batch().text != torch.tensor(EMPTY_HEADER)).any()
        assert bool(told) == (step >= 5)


def test_a_killed_run_goes_on_with_the_same_batches_and_ends_the_same(
    clips: TokenisedClips, tmp_path: Path
) -> None:
    whole = trainer(clips, tmp_path / "whole", max_steps=12)
    for _ in range(12):
        whole.train_step()

    killed = trainer(clips, tmp_path / "killed", max_steps=12)
    for _ in range(5):
        killed.train_step()
    killed.save()
    expected = killed.next_batch()
    killed.train_step()  # lost with the process

    resumed = trainer(clips, tmp_path / "killed", max_steps=12)
    assert resumed.step == 5
    assert same(resumed.next_batch(), expected)
    for _ in range(7):
        resumed.train_step()
    for name, value in whole.core.state_dict().items():
        assert torch.allclose(resumed.core.state_dict()[name], value, atol=1e-6), name


def test_a_kill_between_the_files_of_a_save_leaves_the_older_state(
    clips: TokenisedClips, tmp_path: Path
) -> None:
    run = trainer(clips, tmp_path)
    run.train_step()
    run.save()
    (tmp_path / "training-2.safetensors").write_bytes(b"half")
    assert trainer(clips, tmp_path).step == 1


def test_a_folder_of_another_core_is_refused(clips: TokenisedClips, tmp_path: Path) -> None:
    trainer(clips, tmp_path).save()
    other = StarterCore(StarterConfig(width=16, n_layers=1, n_heads=2))
    with pytest.raises(CheckpointError, match="holds another core"):
        Trainer(core=other, clips=clips, config=config(), folder=tmp_path)


def test_too_few_clips_are_refused(clips: TokenisedClips, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="40 clips leave none to train on, 40 are for"):
        trainer(clips, tmp_path, n_validation_clips=40)


def test_the_budget_of_minutes_ends_a_run_and_survives_a_restart(
    clips: TokenisedClips, tmp_path: Path
) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 3.0
            return self.now

    def timed() -> Trainer:
        settings = config(minutes=0.5, max_steps=None)
        core = StarterCore(TINY_CORE)
        return Trainer(core=core, clips=clips, config=settings, folder=tmp_path, clock=Clock())

    report = timed().run()
    assert report.steps == 10
    assert report.seconds == 30
    assert timed().run().steps == 10


def test_the_rate_warms_up_stays_level_and_falls_to_its_last_value() -> None:
    settings = config(warmup_steps=10)
    assert rate_share(settings, 0, 0.0) == pytest.approx(0.1)
    assert rate_share(settings, 50, 0.2) == 1.0
    assert rate_share(settings, 50, 0.4) == 1.0
    assert rate_share(settings, 50, 0.7) == pytest.approx(0.51)
    assert rate_share(settings, 50, 1.0) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 1.0}, "give minutes or max_steps"),
        ({"max_steps": None}, "give minutes or max_steps"),
        ({"batch_size": 0}, "batch_size is above 0, got 0"),
        ({"pretrain_share": 1.5}, "pretrain_share is 0 to 1, got 1.5"),
    ],
)
def test_a_bad_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)
