"""A small codec, really trained: errors fall, codebooks are used, and a run can go on."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generator.codec.evaluation import codebook_use, evaluate_reconstruction
from generator.codec.model import Codec, load_codec
from generator.codec.training import (
    CodecTrainer,
    CodecTrainingConfig,
    train_codec,
    training_windows,
)
from generator.corpus.storage import Corpus
from generator.errors import RequestError
from tests.unit.generator.codec_material import SMALL, sine_corpus

N_STEPS = 260


def counting_clock() -> Callable[[], float]:
    """Returns a clock that is a second later each time it is read."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return sine_corpus(24)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("codec")
    config = CodecTrainingConfig(
        minutes=N_STEPS / 60, batch_size=6, learning_rate=4e-3, unquantised_steps=20
    )
    codec = Codec(SMALL)
    train_codec(codec, training_windows(corpus, 640), config, folder, counting_clock())
    return load_codec(folder)


@pytest.fixture(scope="module")
def held_out() -> list[torch.Tensor]:
    other = sine_corpus(6, seed=99)
    return [torch.from_numpy(other.waveform(clip)) for clip in other]


def small_codec() -> Codec:
    """Returns the same untrained codec each time."""
    torch.manual_seed(7)
    return Codec(SMALL)


def latent_errors(codec: Codec, waveforms: list[torch.Tensor]) -> list[float]:
    """Returns the mean squared error of the latents kept by 1, 2, ... codebooks."""
    batch = torch.stack(waveforms)
    with torch.inference_mode():
        latents = codec.encoder(codec.features(batch))
        codes = codec.quantiser.encode(latents)
        return [
            float((codec.quantiser.decode(codes[:, :k]) - latents).pow(2).mean())
            for k in range(1, codec.config.n_codebooks + 1)
        ]


def test_the_error_falls_with_each_codebook(trained: Codec, held_out: list[torch.Tensor]) -> None:
    errors = latent_errors(trained, held_out)
    assert all(later < earlier for earlier, later in itertools.pairwise(errors)), errors


def test_training_brings_pitch_back(trained: Codec, held_out: list[torch.Tensor]) -> None:
    torch.manual_seed(5)
    untrained = evaluate_reconstruction(Codec(SMALL).eval(), held_out, 4)
    report = evaluate_reconstruction(trained, held_out, 4)
    assert report.semitone_cosine.mean > untrained.semitone_cosine.mean + 0.2
    assert report.mel_distance_db.mean < untrained.mel_distance_db.mean
    assert report.semitone_cosine.n == 6


def test_every_codebook_is_used(trained: Codec, corpus: Corpus) -> None:
    waveforms = torch.stack([torch.from_numpy(corpus.waveform(clip)) for clip in corpus])
    codes = trained.encode(waveforms)  # [B, K, T]
    for use in codebook_use(codes.transpose(0, 1).flatten(1), SMALL.codebook_size):
        assert use.share_used > 0.8


def test_a_run_goes_on_from_its_last_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    windows = training_windows(corpus, 640)
    short = CodecTrainingConfig(minutes=4 / 60, batch_size=2, unquantised_steps=1)
    first = train_codec(Codec(SMALL), windows, short, tmp_path, counting_clock())
    long = CodecTrainingConfig(minutes=10 / 60, batch_size=2, unquantised_steps=1)
    resumed = Codec(SMALL)
    second = train_codec(resumed, windows, long, tmp_path, counting_clock())
    assert first.step < second.step <= 10
    assert json.loads((tmp_path / "training.json").read_text())["step"] == second.step
    third = Codec(SMALL)
    done = train_codec(third, windows, long, tmp_path, counting_clock())
    assert done.step == second.step
    state = third.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in resumed.state_dict().items())


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(corpus: Corpus, tmp_path: Path) -> None:
    """A clock of a second a step; the killed run dies in step 7 and has saved step 6."""
    windows = training_windows(corpus, 640)
    config = CodecTrainingConfig(
        minutes=8 / 60, batch_size=2, unquantised_steps=2, checkpoint_every_s=2.0
    )
    whole = small_codec()
    train_codec(whole, windows, config, tmp_path / "whole", counting_clock())

    def killed_clock() -> float:
        if (now := next(ticks)) > 6:
            raise KeyboardInterrupt
        return float(now)

    ticks = itertools.count()
    with pytest.raises(KeyboardInterrupt):
        train_codec(small_codec(), windows, config, tmp_path / "killed", killed_clock)
    assert json.loads((tmp_path / "killed" / "training.json").read_text())["step"] == 6
    resumed = small_codec()
    train_codec(resumed, windows, config, tmp_path / "killed", counting_clock())
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_the_learning_rate_warms_up_and_falls_to_its_floor() -> None:
    config = CodecTrainingConfig(learning_rate=1.0, warmup_steps=10, final_rate_share=0.1)
    assert config.rate_at(0, 0.0) == pytest.approx(0.1)
    assert config.rate_at(9, 0.0) == pytest.approx(1.0)
    assert config.rate_at(500, 0.5) == pytest.approx(0.55)
    assert config.rate_at(900, 1.0) == pytest.approx(0.1)


def test_the_roll_readers_are_no_part_of_the_codec() -> None:
    trainer = CodecTrainer(Codec(SMALL), CodecTrainingConfig())
    assert not any("reader" in name for name in trainer.codec.state_dict())
    assert any("reader" in name for name, _ in trainer.named_parameters())


def test_training_settings_without_sense_are_refused() -> None:
    with pytest.raises(RequestError, match="minutes must be positive, got 0"):
        CodecTrainingConfig(minutes=0)
    with pytest.raises(RequestError, match="depth_weights"):
        CodecTrainingConfig(depth_weights=(0.0, 0.0))
