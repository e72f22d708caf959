"""Our MusicGen decoder says what transformers' says, on the same saved and loaded weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    MusicgenForConditionalGeneration,
    MusicgenMelodyForConditionalGeneration,
)

from generator.errors import RequestError
from generator.lm.core import all_logits
from generator.lm.patterns import shift_right
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.musicgen.codec import EncodecCodec
from generator.musicgen.core import DecoderCore, MelodyCore, MusicgenConfig, twin_lengths
from generator.musicgen.layers import sinusoids
from generator.musicgen.loading import Pretrained, load_pretrained
from tests.tiny_musicgen import (
    CHROMA_LENGTH,
    CODEBOOK_SIZE,
    FRAME_SAMPLES,
    tiny_tokenizer,
    write_tiny_musicgen,
)

N_FRAMES = 20
KINDS = ("mono", "stereo", "melody", "stereo melody")
SHORT, LONG = "slow piano", "a fast dance on piano, take 2"


@dataclass(frozen=True)
class Both:
    """One folder, loaded by us and by transformers."""

    ours: Pretrained
    theirs: Any

    @property
    def core(self) -> DecoderCore:
        return self.ours.core


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Both]:
    found = {}
    for kind in KINDS:
        is_melody = "melody" in kind
        folder = write_tiny_musicgen(
            tmp_path_factory.mktemp("musicgen"), is_stereo="stereo" in kind, is_melody=is_melody
        )
        loader: Any = (
            MusicgenMelodyForConditionalGeneration
            if is_melody
            else MusicgenForConditionalGeneration
        )
        found[kind] = Both(load_pretrained(folder), loader.from_pretrained(folder).eval())
    return found


def ids_of(*prompts: str) -> tuple[Tensor, Tensor]:
    encoded = tiny_tokenizer()(list(prompts), padding=True, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"]


def their_codes(
    theirs: Any, text: Tensor, mask: Tensor, guidance: float, **more: Any
) -> tuple[Tensor, Tensor]:
    """Returns greedy codes [B, K, T] and audio [B, channels, N] of transformers' generate."""
    heard: list[Tensor] = []
    decode = theirs.audio_encoder.decode

    def listen(codes: Tensor, *arguments: Any, **options: Any) -> Any:
        heard.append(codes[0])
        return decode(codes, *arguments, **options)

    theirs.audio_encoder.decode = listen
    try:
        audio = theirs.generate(
            input_ids=text,
            attention_mask=mask,
            do_sample=False,
            guidance_scale=guidance,
            max_new_tokens=N_FRAMES + 3,
            **more,
        )
    finally:
        theirs.audio_encoder.decode = decode
    return torch.stack(heard, dim=2).flatten(1, 2), audio


def our_codes(
    core: DecoderCore, text: Tensor, mask: Tensor, guidance: float, n_frames: int = N_FRAMES
) -> Tensor:
    settings = SamplingSettings(guidance=guidance, top_k=1)
    seconds = torch.tensor([[0.0, 1.0]] * len(text))
    seeds = list(range(len(text)))
    return sample_codes(core, text, seconds, n_frames, settings, seeds, text_mask=mask)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_and_audio_equal_transformers(
    loaded: dict[str, Both], kind: str, guidance: float
) -> None:
    both = loaded[kind]
    for prompt in (SHORT, LONG):
        text, mask = ids_of(prompt)
        expected, audio = their_codes(both.theirs, text, mask, guidance)
        codes = our_codes(both.core, text, mask, guidance)
        assert torch.equal(codes, expected)
        assert codes.unique().numel() > 3
        waveform = both.ours.codec.decode(codes)
        torch.testing.assert_close(waveform.view_as(audio), audio, atol=1e-5, rtol=0)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_greedy_tokens_equal_transformers_on_prompts_of_several_lengths(
    loaded: dict[str, Both], kind: str, guidance: float
) -> None:
    both = loaded[kind]
    text, mask = ids_of(SHORT, LONG)
    expected, _ = their_codes(both.theirs, text, mask, guidance)
    assert torch.equal(our_codes(both.core, text, mask, guidance), expected)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_the_same_beside_a_longer_prompt(
    loaded: dict[str, Both], kind: str, guidance: float
) -> None:
    core = loaded[kind].core
    together = our_codes(core, *ids_of(SHORT, LONG), guidance)
    alone = our_codes(core, *ids_of(SHORT), guidance)
    assert torch.equal(together[:1], alone)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("length", [4, CHROMA_LENGTH, CHROMA_LENGTH + 5])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_told_melody_gives_the_codes_of_transformers(
    loaded: dict[str, Both], guidance: float, length: int
) -> None:
    both = loaded["melody"]
    text, mask = ids_of(LONG)
    melody = torch.arange(2, 2 + length)[None] % 12
    features = torch.nn.functional.one_hot(melody, 12).float()
    expected, _ = their_codes(both.theirs, text, mask, guidance, input_features=features)

    seconds = torch.zeros(1, 2)
    empty = torch.zeros_like(text), torch.zeros_like(mask)
    rows = [(text, mask, melody)]
    if guidance != 1.0:
        rows.append((*empty, torch.full_like(melody, 13)))
    stacked = [torch.cat(parts) for parts in zip(*rows, strict=True)]
    condition = both.core.condition(stacked[0], stacked[1], seconds, stacked[2])
    told = greedy(both.core, condition, len(rows), guidance)
    assert torch.equal(told, expected)
    assert not torch.equal(told, our_codes(both.core, text, mask, guidance))


@torch.no_grad()
def greedy(core: DecoderCore, condition: Any, n_rows: int, guidance: float) -> Tensor:
    """Returns the greedy codes [1, K, T] of a condition, every step computed anew."""
    pattern = core.pattern
    n_steps = pattern.n_steps(N_FRAMES)
    grid = torch.full((1, n_steps, core.n_codebooks), pattern.hole)
    for step in range(n_steps):
        rows = shift_right(grid, pattern.hole).repeat(n_rows, 1, 1)[:, : step + 1]
        logits = all_logits(core, core.trunk(rows, condition))[:, -1]
        if n_rows == 2:
            logits = logits[1:] + guidance * (logits[:1] - logits[1:])
        present = pattern.present(N_FRAMES)[step]
        grid[:, step] = torch.where(present, logits.argmax(-1), pattern.hole)
    return pattern.revert(grid)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_steps_equal_one_pass_over_all_rows(loaded: dict[str, Both], kind: str) -> None:
    core = loaded[kind].core
    text, mask = ids_of(SHORT, LONG)
    with torch.inference_mode():
        condition = core.condition(text, mask, torch.zeros(2, 2))
        rows = random_rows(core, 2, 15)
        whole = core.trunk(rows, condition)
        cache = core.new_cache(2, rows.shape[1])
        pieces = [slice(0, 4), slice(4, 5), slice(5, rows.shape[1])]
        parts = [core.trunk(rows[:, piece], condition, cache) for piece in pieces]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)


def random_rows(core: DecoderCore, batch: int, n_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(
        0, core.codebook_size, (batch, core.n_codebooks, n_frames), generator=generator
    )
    return shift_right(core.pattern.build(codes), core.pattern.hole)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_transformers_names(loaded: dict[str, Both], kind: str) -> None:
    both = loaded[kind]
    ours = {n for n in both.core.state_dict() if not n.startswith(("text_enc", "enc_to", "audio_"))}
    assert ours == set(both.theirs.decoder.state_dict())


@torch.inference_mode()
def test_logits_equal_those_of_the_decoder_alone(loaded: dict[str, Both]) -> None:
    both = loaded["mono"]
    text, mask = ids_of(SHORT, LONG)
    rows = random_rows(both.core, 2, 12)
    ours = all_logits(both.core, both.core.trunk(rows, both.core.condition(text, mask, text)))
    states = both.core.text_states(text, mask)
    theirs = both.theirs.decoder(
        input_ids=rows.transpose(1, 2).flatten(0, 1),
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
    ).logits  # [B * K, S, V]
    expected = theirs.view(2, both.core.n_codebooks, -1, CODEBOOK_SIZE).transpose(1, 2)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_a_changed_row_moves_only_later_hidden_states(loaded: dict[str, Both], kind: str) -> None:
    core = loaded[kind].core
    rows = random_rows(core, 1, 12)
    moved = rows.clone()
    moved[:, 7] = (moved[:, 7] + 1) % CODEBOOK_SIZE
    with torch.inference_mode():
        condition = core.condition(*ids_of(SHORT), torch.zeros(1, 2))
        before, after = core.trunk(rows, condition), core.trunk(moved, condition)
    torch.testing.assert_close(after[:, :7], before[:, :7], atol=1e-6, rtol=0)
    assert (after[:, 7] - before[:, 7]).abs().max() > 1e-2


def test_left_and_right_are_delayed_together(loaded: dict[str, Both]) -> None:
    assert loaded["stereo"].core.delays == (0, 0, 1, 1, 2, 2, 3, 3)
    assert loaded["mono"].core.delays == (0, 1, 2, 3)


def test_swapping_channels_swaps_codes_and_back(loaded: dict[str, Both]) -> None:
    codec = loaded["stereo"].ours.codec
    generator = torch.Generator().manual_seed(1)
    waveform = torch.rand((3, 2, 10 * FRAME_SAMPLES), generator=generator) * 2 - 1
    codes = codec.encode(waveform)
    assert codes.shape == (3, 8, 10)
    assert not torch.equal(codes[:, 0::2], codes[:, 1::2])
    swapped = codec.encode(waveform.flip(1))
    assert torch.equal(swapped[:, 0::2], codes[:, 1::2])
    assert torch.equal(swapped[:, 1::2], codes[:, 0::2])
    assert torch.equal(codec.decode(swapped), codec.decode(codes).flip(1))


def test_equal_channels_have_equal_codes(loaded: dict[str, Both]) -> None:
    codec = loaded["stereo"].ours.codec
    mono = EncodecCodec(codec.audio_encoder, n_channels=1)
    waveform = torch.rand((1, 5 * FRAME_SAMPLES), generator=torch.Generator().manual_seed(2)) - 0.5
    codes = codec.encode(torch.stack([waveform, waveform], dim=1))
    assert torch.equal(codes[:, 0::2], mono.encode(waveform))
    assert torch.equal(codes[:, 0::2], codes[:, 1::2])


def test_an_empty_text_reads_nothing(loaded: dict[str, Both]) -> None:
    core = loaded["mono"].core
    text, mask = ids_of(LONG)
    rows = random_rows(core, 1, 6)
    with torch.inference_mode():
        masked = core.trunk(rows, core.condition(text, torch.zeros_like(mask), torch.zeros(1, 2)))
        empty = core.trunk(rows, core.condition(*core.empty_text(1), torch.zeros(1, 2)))
        told = core.trunk(rows, core.condition(text, mask, torch.zeros(1, 2)))
    assert torch.equal(masked, empty)
    assert (told - empty).abs().max() > 1e-2


def test_training_mode_never_reaches_the_text_encoder(loaded: dict[str, Both]) -> None:
    core = loaded["mono"].core
    core.train()
    assert not core.text_encoder.training
    assert core.model.training
    core.eval()


def test_positions_go_on_beyond_those_of_the_configuration(loaded: dict[str, Both]) -> None:
    core = loaded["mono"].core
    n_positions = core.config.n_positions
    vectors = core.position_vectors(torch.arange(n_positions + 5), n_positions + 5)
    torch.testing.assert_close(vectors, sinusoids(n_positions + 5, core.width))


def test_lengths_of_empty_texts_are_those_of_their_twins() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert twin_lengths(mask).tolist() == [2, 3, 2, 3, 3]
    assert twin_lengths(mask[2:]).tolist() == [3, 3, 3]
    assert twin_lengths(mask[:2]).tolist() == [2, 3]


def test_what_does_not_fit_is_refused_with_both_numbers(loaded: dict[str, Both]) -> None:
    core = loaded["mono"].core
    text, mask = ids_of(SHORT)
    seconds = torch.zeros(1, 2)
    with pytest.raises(RequestError, match="follows no melody"):
        core.condition(text, mask, seconds, torch.zeros(1, 3).long())
    with pytest.raises(RequestError, match="at most 24 ids, got 25"):
        core.condition(torch.ones(1, 25).long(), torch.ones(1, 25).long(), seconds)
    with pytest.raises(RequestError, match=r"\[B, S, 4\], got \(1, 5, 3\)"):
        core.trunk(torch.zeros(1, 5, 3).long(), core.condition(text, mask, seconds))
    melody_core = loaded["melody"].core
    assert isinstance(melody_core, MelodyCore)
    with pytest.raises(RequestError, match=r"\[1, M\], got \(2, 3\)"):
        melody_core.condition(text, mask, seconds, torch.zeros(2, 3).long())
    codec = loaded["stereo"].ours.codec
    with pytest.raises(RequestError, match=r"\[B, 2, N\], got \(1, 640\)"):
        codec.encode(torch.zeros(1, 640))
    with pytest.raises(RequestError, match=r"\[B, 8, T\], got \(1, 3, 4\)"):
        codec.decode(torch.zeros(1, 3, 4).long())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 5}, "multiple of n_heads, got 32 and 5"),
        ({"n_channels": 3}, "1 or 2 channels"),
        ({"activation": "tanh"}, "activation is one of .* got 'tanh'"),
    ],
)
def test_a_bad_configuration_is_refused(changes: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {
        "width": 32,
        "n_layers": 1,
        "n_heads": 4,
        "feed_width": 48,
        "n_codebooks": 4,
        "codebook_size": 32,
        "frame_rate_hz": 50,
        "text_vocabulary_size": 50,
    }
    with pytest.raises(ValueError, match=message):
        MusicgenConfig(**(sizes | changes))
