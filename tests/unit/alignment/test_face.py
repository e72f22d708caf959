"""The face: a core scored through flat rows says exactly what the core says itself."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from trl.trainer.utils import add_fused_lm_head

from alignment.collation import flat_row
from alignment.errors import AlignmentError
from alignment.face import IGNORED_LABEL, FlatAudioLM
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterConfig, StarterCore
from tests.tiny import tiny_core
from tests.unit.alignment.planted import random_headers

RATE_HZ = 25
CONFIGS = {
    "two codebooks": StarterConfig(width=32, n_layers=2, n_heads=2),
    "stereo delays": StarterConfig(
        width=32, n_layers=2, n_heads=2, delays=(0, 0, 1, 1), codebook_size=24
    ),
    "late codebooks": StarterConfig(
        width=32, n_layers=1, n_heads=2, delays=(0, 1, 2, 3), codebook_size=16
    ),
    "flattened codebooks": StarterConfig(
        width=32, n_layers=1, n_heads=2, delays=(0, 1, 2), pattern="flattening", codebook_size=16
    ),
}


def direct_log_probs(core: StarterCore, header: Tensor, codes: Tensor) -> Tensor:
    """Returns the log-probability of every code, [K, T], codebook by codebook, place by place.

    The slow and obvious twin of the face: one pass of the trunk per step, over what came before.
    """
    n_codebooks, n_frames = codes.shape
    hole = core.codebook_size
    seconds = torch.tensor([[0.0, n_frames / RATE_HZ]])
    condition = core.condition(header[None], torch.ones_like(header)[None], seconds)
    result = torch.zeros(n_codebooks, n_frames)
    rows = [[hole] * n_codebooks]
    places = core.pattern.places(n_frames).tolist()
    for step in range(core.pattern.n_steps(n_frames)):
        hidden = core.trunk(torch.tensor([rows]), condition)[0, -1]
        row = []
        for codebook, steps in enumerate(places):
            if step in steps:
                frame = steps.index(step)
                code = int(codes[codebook, frame])
                logits = core.lm_heads[codebook](hidden)
                result[codebook, frame] = logits.log_softmax(-1)[code]
                row.append(code)
            else:
                row.append(hole)
        rows.append(row)
    return result


def random_clip(core: StarterCore, n_frames: int, seed: int) -> Tensor:
    """Returns codes [K, T]."""
    shape = (core.n_codebooks, n_frames)
    return torch.randint(core.codebook_size, shape, generator=torch.Generator().manual_seed(seed))


def batch_of(model: FlatAudioLM, clips: list[Tensor], headers: Tensor, side: str) -> Tensor:
    """Returns padded rows [B, L] of clips of any lengths."""
    rows = [
        flat_row(model.vocabulary, header.tolist(), clip, RATE_HZ)
        for header, clip in zip(headers, clips, strict=True)
    ]
    length = max(len(row) for row in rows)
    filled = []
    for row in rows:
        room = length - len(row)
        filled.append(
            F.pad(row, (room, 0) if side == "left" else (0, room), value=model.vocabulary.pad)
        )
    return torch.stack(filled)


def labels_of(model: FlatAudioLM, ids: Tensor) -> Tensor:
    """Returns labels [B, L]: codes, holes and EOS, as a trainer's completion mask would."""
    is_label = (ids < model.vocabulary.bos) & (ids != model.vocabulary.pad)
    return ids.masked_fill(~is_label, IGNORED_LABEL)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_flat_log_probs_equal_direct_ones_in_ragged_batches(name: str, side: str) -> None:
    core = tiny_core(config=CONFIGS[name])
    model = FlatAudioLM(core).eval()
    headers = random_headers(3, seed=0)
    clips = [random_clip(core, n_frames, seed) for seed, n_frames in enumerate((11, 4, 1))]
    ids = batch_of(model, clips, headers, side)
    found = model(input_ids=ids, labels=labels_of(model, ids), fused_lm_head=True).log_probs
    assert found.shape == (3, ids.shape[1] - 1)
    following = ids[:, 1:]
    pattern = core.pattern
    for row, clip in enumerate(clips):
        expected = direct_log_probs(core, headers[row], clip)
        is_code = model.vocabulary.is_code(following[row])
        by_code = pattern.revert(
            torch.zeros(1, pattern.n_steps(clip.shape[1]), core.n_codebooks).masked_scatter(
                pattern.present(clip.shape[1])[None], found[row][is_code]
            )
        )[0]
        torch.testing.assert_close(by_code, expected, atol=1e-5, rtol=0)
        assert found[row][~is_code].abs().max() == 0.0


@torch.no_grad()
def test_ordinary_logits_give_the_log_probs_of_the_fused_head() -> None:
    model = FlatAudioLM(tiny_core()).eval()
    headers = random_headers(2, seed=1)
    clips = [random_clip(model.core, n_frames, n_frames) for n_frames in (9, 5)]
    ids = batch_of(model, clips, headers, "right")
    labels = labels_of(model, ids)
    fused = model(input_ids=ids, labels=labels, fused_lm_head=True)
    logits = model(input_ids=ids).logits
    assert logits.shape == (2, ids.shape[1], model.vocabulary.n_outputs)
    following = ids[:, 1:].clamp(max=model.vocabulary.n_outputs - 1)
    ordinary = logits[:, :-1].log_softmax(-1).gather(-1, following[..., None])[..., 0]
    ordinary = ordinary.masked_fill(labels[:, 1:] == IGNORED_LABEL, 0.0)
    torch.testing.assert_close(ordinary, fused.log_probs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_trainers_log_beside_log_probs_is_that_of_the_codebook_whose_turn_it_is() -> None:
    model = FlatAudioLM(tiny_core()).eval()
    ids = batch_of(model, [random_clip(model.core, 6, 0)], random_headers(1, seed=2), "right")
    fused = model(input_ids=ids, labels=labels_of(model, ids), fused_lm_head=True)
    rows = model.vocabulary.split(ids)
    first = model.code_logits(rows)[0][0, 0]  # of codebook 0 at step 0
    place = int(rows.beginning[0])
    assert fused.entropy[0, place] == pytest.approx(
        torch.distributions.Categorical(logits=first).entropy().item(), abs=1e-5
    )
    assert fused.mean_logits[0, place] == pytest.approx(first.mean().item(), abs=1e-6)
    assert bool(fused.is_top1[0, place]) == (int(first.argmax()) == int(rows.grid[0, 0, 0]))


@torch.no_grad()
def test_a_later_id_changes_no_earlier_log_prob() -> None:
    model = FlatAudioLM(tiny_core(config=CONFIGS["stereo delays"])).eval()
    vocabulary = model.vocabulary
    ids = batch_of(model, [random_clip(model.core, 5, 0)], random_headers(1, seed=0), "right")
    labels = labels_of(model, ids)
    before = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs[0]
    for place in vocabulary.is_code(ids[0]).nonzero()[:, 0].tolist():
        changed = ids.clone()
        codebook, code = divmod(int(ids[0, place]), vocabulary.codebook_size)
        changed[0, place] = codebook * vocabulary.codebook_size + (code + 1) % 24
        after = model(input_ids=changed, labels=changed, fused_lm_head=True).log_probs[0]
        torch.testing.assert_close(after[: place - 1], before[: place - 1], atol=1e-6, rtol=0)
        assert after[place - 1] != before[place - 1]


@torch.no_grad()
def test_greedy_tokens_of_the_sampler_are_the_argmax_of_the_faces_logits() -> None:
    core = tiny_core(seed=3)
    headers = random_headers(3, seed=4)
    n_frames = 30
    seconds = torch.tensor([[0.0, n_frames / RATE_HZ]] * 3)
    settings = SamplingSettings(guidance=1.0, temperature=1.0, top_k=1)
    codes = sample_codes(core, headers, seconds, n_frames, settings, [1, 2, 3])
    model = FlatAudioLM(core).eval()
    ids = batch_of(model, list(codes), headers, "right")
    best = model(input_ids=ids).logits[:, :-1].argmax(-1)
    assert torch.equal(best[:, 12:], ids[:, 13:])  # ten text ids, two bins, BOS
    assert codes.unique().numel() > 5


@torch.no_grad()
@pytest.mark.parametrize("duration_s", [14, 30])
def test_the_last_code_of_a_long_clip_counts(duration_s: int) -> None:
    model = FlatAudioLM(tiny_core()).eval()
    clip = random_clip(model.core, duration_s * RATE_HZ, 0)
    ids = batch_of(model, [clip], random_headers(1, seed=5), "right")
    assert ids.shape[1] == 13 + 2 * (duration_s * RATE_HZ + 1) + 1
    found = model(input_ids=ids, labels=labels_of(model, ids), fused_lm_head=True).log_probs
    assert int((found != 0).sum()) == clip.numel()


def test_weights_scale_gradients_row_by_row_and_change_no_value() -> None:
    model = FlatAudioLM(tiny_core()).eval()
    ids = batch_of(
        model, [random_clip(model.core, 6, s) for s in (0, 1)], random_headers(2, 6), "right"
    )
    labels = labels_of(model, ids)
    weight = model.core.layers[0].fc1.weight

    def of_row(row: int | None, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        scores = model(input_ids=ids, labels=labels, fused_lm_head=True, weights=weights).log_probs
        summed = scores.sum() if row is None else scores[row].sum()
        return scores.detach(), torch.autograd.grad(summed, weight)[0]

    plain, first = of_row(0, None)
    _, second = of_row(1, None)
    weighted, both = of_row(None, torch.tensor([3.0, 0.5]))
    assert torch.equal(plain, weighted)
    torch.testing.assert_close(both, 3.0 * first + 0.5 * second, atol=1e-5, rtol=1e-4)


def test_an_adapter_on_the_codebook_heads_is_refused() -> None:
    model = FlatAudioLM(tiny_core())
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "lm_heads.0"]))
    ids = batch_of(model, [random_clip(model.core, 3, 0)], random_headers(1, 0), "right")
    with pytest.raises(AlignmentError, match="codebook heads"):
        adapted(input_ids=ids, labels=labels_of(model, ids), fused_lm_head=True)


def test_trainers_cannot_put_their_fused_head_over_the_native_one() -> None:
    model = FlatAudioLM(tiny_core())
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    assert "forward" not in vars(model)
    with pytest.raises(AlignmentError, match=r"temperature 1, got 0\.7"):
        add_fused_lm_head(model, temperature=0.7)
    wrapped: Any = nn.Identity().forward
    setattr(model, "forward", wrapped)  # noqa: B010 - as wrappers for mixed precision do
    assert model.forward == wrapped
