"""The encoder sees what it may see, learns, resumes to the bit, and embeds clips alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generator.checkpoints import verify_folder
from generator.command import STARTER
from generator.errors import CheckpointError, GeneratorError, RequestError
from generator.files import file_sha256
from generator.lm.sampling import SamplingSettings
from generator.representation.clips import clip_codes, embed_clips
from generator.representation.encoder import (
    EncoderConfig,
    EncoderLayer,
    RepresentationEncoder,
    load_encoder,
    save_encoder,
)
from generator.representation.masking import draw_spans, masked, masked_loss
from generator.representation.training import (
    CodedClips,
    Pretrainer,
    PretrainingConfig,
    draw_batch,
)
from generator.requests import ClipRequest
from generator.synthesis import load_generator
from tests.tiny import TINY_PROMPTS

ENCODER = STARTER.parent / "encoder"
TINY = EncoderConfig(codebook_size=16, width=16, n_layers=2, n_heads=2)


def tiny_encoder(seed: int = 0) -> RepresentationEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = RepresentationEncoder(TINY)
        for layer in encoder.layers:
            assert isinstance(layer, EncoderLayer)
            torch.nn.init.normal_(layer.out_proj.weight, std=0.3)
            torch.nn.init.normal_(layer.fc2.weight, std=0.3)
    return encoder.eval()


def counting_clips(n_clips: int = 24, n_frames: int = 40) -> CodedClips:
    """Clips whose codes count up from where they begin: a hidden code follows from the others."""
    rows = [(np.arange(n_frames) + index) % 16 for index in range(n_clips)]
    codes = np.stack([np.concatenate(rows), (np.concatenate(rows) + 5) % 16]).astype(np.int16)
    lengths = np.full(n_clips, n_frames)
    return CodedClips(codes, np.cumsum(lengths) - n_frames, lengths)


SHORT: dict[str, Any] = {
    "minutes": None,
    "n_frames": 24,
    "n_validation_clips": 4,
    "warmup_steps": 5,
}


def test_every_frame_reaches_every_other_but_none_beyond_the_end() -> None:
    encoder = tiny_encoder()
    codes = torch.randint(0, 16, (1, 2, 12), generator=torch.Generator().manual_seed(0))
    present = torch.arange(12)[None] < 9
    before = encoder.states(codes, present)[-1]
    late, beyond = codes.clone(), codes.clone()
    late[0, :, 8] = (late[0, :, 8] + 1) % 16
    beyond[0, :, 9:] = (beyond[0, :, 9:] + 1) % 16
    assert not torch.allclose(encoder.states(late, present)[-1][:, 0], before[:, 0])
    assert torch.allclose(encoder.states(beyond, present)[-1][:, :9], before[:, :9], atol=1e-6)


def test_a_hidden_frame_does_not_reach_the_loss_that_asks_for_it() -> None:
    encoder = tiny_encoder()
    codes = torch.randint(0, 16, (1, 2, 12), generator=torch.Generator().manual_seed(0))
    hidden = np.zeros((1, 12), dtype=bool)
    hidden[0, 3:6] = True
    other = codes.clone()
    other[0, :, 3:6] = (other[0, :, 3:6] + 1) % 16
    seen = [c.masked_fill(torch.from_numpy(hidden)[:, None], 16) for c in (codes, other)]
    assert torch.equal(encoder(seen[0]), encoder(seen[1]))
    losses = [masked_loss(encoder, masked(c, hidden, np.array([12]))) for c in (codes, other)]
    assert losses[0].mean != losses[1].mean


def test_the_loss_before_training_is_that_of_a_guess() -> None:
    torch.manual_seed(0)
    encoder = RepresentationEncoder(EncoderConfig())
    codes = torch.randint(0, 512, (4, 2, 30))
    hidden = np.ones((4, 30), dtype=bool)
    loss = masked_loss(encoder, masked(codes, hidden, np.full(4, 30)))
    assert float(loss.mean.detach()) == pytest.approx(math.log(512), abs=0.2)
    assert float(loss.mean.detach()) == pytest.approx(float(loss.mean_per_codebook.mean()))


def test_about_the_wanted_share_is_hidden_in_spans_within_the_clip() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([150] * 200 + [20] * 200)
    hidden = draw_spans(lengths, 150, share=0.5, span_frames=8, rng=rng)
    assert hidden[:200].mean() == pytest.approx(0.5, abs=0.04)
    assert not hidden[200:, 20:].any()
    assert hidden.any(axis=1).all()
    edges = np.diff(hidden[0].astype(int), prepend=0, append=0)
    runs = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    assert runs.min() >= 8


def test_a_batch_holds_windows_of_its_clips() -> None:
    clips = counting_clips()
    config = PretrainingConfig(**SHORT, max_steps=1)
    batch = draw_batch(clips, [3, 4], config, np.random.default_rng(0))
    assert batch.codes.shape == (2, 2, 24)
    assert torch.equal((batch.codes[:, 0, 1:] - batch.codes[:, 0, :-1]) % 16, torch.ones(2, 23))
    assert torch.equal((batch.codes[:, 1] - batch.codes[:, 0]) % 16, torch.full((2, 24), 5))
    assert bool(batch.present.all())


def test_training_learns_what_follows_from_what_is_seen(tmp_path: Path) -> None:
    easy: dict[str, Any] = {"span_frames": 2, "learning_rate": 1.5e-2, "mask_share": 0.3}
    config = PretrainingConfig(**SHORT, **easy, max_steps=150)
    trainer = Pretrainer(
        encoder=tiny_encoder(), clips=counting_clips(), config=config, folder=tmp_path
    )
    before, _ = trainer.validate()
    report = trainer.run()
    assert np.mean(before) > 2.0
    assert report.validation_loss < 1.0
    assert report.validation_accuracy > 0.6


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def trainer(folder: str, max_steps: int) -> Pretrainer:
        config = PretrainingConfig(**SHORT, max_steps=max_steps)
        return Pretrainer(
            encoder=tiny_encoder(), clips=counting_clips(), config=config, folder=tmp_path / folder
        )

    trainer("straight", 8).run()
    killed = trainer("killed", 8)
    for step in range(5):
        if step == 3:
            killed.save()
        killed.train_step()
    resumed = trainer("killed", 8)
    assert resumed.step == 3
    resumed.run()
    one, other = (
        (tmp_path / name / "encoder.safetensors").read_bytes() for name in ("straight", "killed")
    )
    assert one == other


def test_a_clip_is_embedded_alike_in_any_batch() -> None:
    encoder = tiny_encoder()
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 16, (2, n)).astype(np.int16) for n in (30, 11, 20)]
    together = embed_clips(encoder, codes)
    alone = np.concatenate([embed_clips(encoder, [clip]) for clip in codes])
    assert together.shape == (3, 16)
    assert np.allclose(together, alone, atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-2)


def test_frames_and_clips_have_the_shapes_that_are_stated() -> None:
    embedding = tiny_encoder().embed(
        torch.zeros(3, 2, 7, dtype=torch.long), torch.tensor([7, 2, 1])
    )
    assert embedding.frames.shape == (3, 7, 16)
    assert embedding.clips.shape == (3, 16)
    n_layers = tiny_encoder().config.n_layers
    assert embedding.layers.shape == (3, (n_layers + 1) * 16)
    by_layer = embedding.layers.unflatten(1, (n_layers + 1, 16))
    assert torch.allclose(by_layer.mean(1), embedding.clips, atol=1e-6)
    assert not embedding.frames[1, 2:].any()
    assert torch.allclose(embedding.frames[1, :2].mean(0), embedding.clips[1], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        ((1, 3, 5), 0, r"expected codes of shape \[B, 2, T\], got \(1, 3, 5\)"),
        ((1, 2, 0), 0, "a clip has 1 to 2048 frames, got 0"),
        ((1, 2, 5), 16, "codes are 0 to 15, got 16 to 16"),
    ],
)
def test_wrong_codes_are_refused(shape: tuple[int, ...], value: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tiny_encoder().embed(torch.full(shape, value))


def test_a_saved_encoder_embeds_the_same(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    save_encoder(encoder, tmp_path)
    codes = clip_codes(counting_clips(2))
    assert np.allclose(
        embed_clips(load_encoder(tmp_path), codes), embed_clips(encoder, codes), atol=1e-2
    )
    (tmp_path / "encoder.json").write_text('{"width": 7}')
    with pytest.raises(CheckpointError, match="does not describe an encoder"):
        load_encoder(tmp_path)


def test_too_few_clips_and_other_codebooks_are_refused(tmp_path: Path) -> None:
    config = PretrainingConfig(**SHORT, max_steps=1)
    with pytest.raises(GeneratorError, match="4 clips leave none to train on"):
        Pretrainer(encoder=tiny_encoder(), clips=counting_clips(4), config=config, folder=tmp_path)
    clips = counting_clips()
    one = CodedClips(clips.codes[:1], clips.starts, clips.n_frames)
    with pytest.raises(GeneratorError, match="reads 2 codebooks, got 1"):
        Pretrainer(encoder=tiny_encoder(), clips=one, config=config, folder=tmp_path)


def test_the_shipped_encoder_is_whole_and_reads_the_starters_codec() -> None:
    card = verify_folder(ENCODER)
    assert (card.kind, card.licence) == ("encoder", "Apache-2.0")
    assert card.recipe["codec_sha256"] == file_sha256(STARTER / "codec.safetensors")
    assert load_encoder(ENCODER).config.codebook_size == 512


def test_the_shipped_encoder_guesses_hidden_frames_of_the_starters_clips() -> None:
    """A blind guess has ln 512 = 6.24 nats a code; the held-out corpus has 3.07."""
    requests = [ClipRequest(prompt, 4.0, seed) for seed, prompt in enumerate(TINY_PROMPTS)]
    clips = load_generator(STARTER).generate(requests, SamplingSettings())
    codes = torch.from_numpy(np.stack([clip.codes for clip in clips])).long()
    lengths = np.full(len(clips), codes.shape[-1])
    hidden = draw_spans(
        lengths, codes.shape[-1], share=0.5, span_frames=12, rng=np.random.default_rng(0)
    )
    with torch.inference_mode():
        loss = masked_loss(load_encoder(ENCODER), masked(codes, hidden, lengths))
    assert float(loss.mean) < 4.5
