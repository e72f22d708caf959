"""The flat vocabulary: where ids lie, and that nothing is lost on the way there and back."""

import pytest
import torch

from alignment.errors import AlignmentError
from alignment.flat import FlatVocabulary
from generator.lm.patterns import Pattern, coarse_first, delay, flattening
from generator.lm.timing import N_TIME_BINS

SMALL = FlatVocabulary(delay(2, 4), text_vocabulary_size=3)


def test_ids_lie_one_after_another_with_codes_first() -> None:
    assert SMALL.n_codes == 8
    assert (SMALL.pad, SMALL.eos, SMALL.hole, SMALL.bos) == (8, 9, 10, 11)
    assert SMALL.n_outputs == SMALL.first_start == 12
    assert SMALL.first_total == 12 + N_TIME_BINS
    assert SMALL.first_text == 12 + 2 * N_TIME_BINS
    assert SMALL.size == SMALL.first_text + 3


def test_a_completion_runs_step_by_step_with_holes_where_a_codebook_is_silent() -> None:
    codes = torch.tensor([[[0, 1, 2], [3, 2, 1]]])
    hole = SMALL.hole
    expected = [0, hole, 1, 4 + 3, 2, 4 + 2, hole, 4 + 1, SMALL.eos]
    assert SMALL.completions(codes).tolist() == [expected]


def test_a_prompt_is_text_then_bins_then_the_beginning() -> None:
    prompts = SMALL.prompts(torch.tensor([[2, 0]]), torch.tensor([[0.0, 5.0]]))
    assert prompts.tolist() == [
        [
            SMALL.first_text + 2,
            SMALL.first_text,
            SMALL.first_start,
            SMALL.first_total + 25,
            SMALL.bos,
        ]
    ]


@pytest.mark.parametrize("delays", [(0,), (0, 1), (0, 1, 2, 3), (0, 0, 1, 1), (0, 0)])
def test_codes_come_back_from_their_completion(delays: tuple[int, ...]) -> None:
    vocabulary = FlatVocabulary(Pattern(delays, 16), text_vocabulary_size=5)
    codes = torch.randint(16, (3, len(delays), 9), generator=torch.Generator().manual_seed(0))
    completions = vocabulary.completions(codes)
    assert completions.shape == (3, (9 + max(delays)) * len(delays) + 1)
    assert torch.equal(vocabulary.codes(completions), codes)


def test_flattened_codes_come_back_from_their_completion() -> None:
    vocabulary = FlatVocabulary(flattening(3, 16), text_vocabulary_size=5)
    codes = torch.randint(16, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    completions = vocabulary.completions(codes)
    assert completions.shape == (2, 3 * 4 * 3 + 1)
    assert int((completions == vocabulary.hole).sum()) == 2 * 3 * 4 * 2
    assert torch.equal(vocabulary.codes(completions), codes)


def test_a_pattern_of_two_passes_is_refused() -> None:
    with pytest.raises(AlignmentError, match="got a coarse_first pattern of 2 passes"):
        FlatVocabulary(coarse_first(2, 16), text_vocabulary_size=5)


def padded(rows: list[torch.Tensor], side: str) -> torch.Tensor:
    """Returns rows [B, L] filled up with PAD on one side, or on both."""
    length = max(len(row) for row in rows) + 3
    result = torch.full((len(rows), length), SMALL.pad)
    for target, row in zip(result, rows, strict=True):
        room = length - len(row)
        start = {"left": room, "right": 0, "both": room // 2}[side]
        target[start : start + len(row)] = row
    return result


@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_splitting_finds_every_part_of_ragged_rows_whatever_side_is_padded(side: str) -> None:
    texts = [torch.tensor([[2, 0, 1]]), torch.tensor([[1]])]
    clips = [torch.tensor([[[0, 1, 2], [3, 2, 1]]]), torch.tensor([[[3], [0]]])]
    totals = [torch.tensor([[0.2, 12.0]]), torch.tensor([[0.0, 60.0]])]
    rows = [
        torch.cat([SMALL.prompts(text, total), SMALL.completions(codes)], dim=1)[0]
        for text, codes, total in zip(texts, clips, totals, strict=True)
    ]
    ids = padded(rows, side)
    found = SMALL.split(ids)
    assert found.text.tolist() == [[2, 0, 1], [1, 0, 0]]
    assert found.text_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    torch.testing.assert_close(found.seconds, torch.cat(totals))
    hole = SMALL.pattern.hole
    assert found.grid.tolist() == [
        [[0, hole], [1, 3], [2, 2], [hole, 1]],
        [[3, hole], [hole, 0], [hole, hole], [hole, hole]],
    ]
    assert (ids.gather(1, found.beginning[:, None]) == SMALL.bos).all()


def test_bad_codes_text_and_rows_are_refused_with_both_numbers() -> None:
    with pytest.raises(AlignmentError, match=r"\[B, 2, T\], got \(1, 3, 5\)"):
        SMALL.completions(torch.zeros(1, 3, 5, dtype=torch.long))
    with pytest.raises(AlignmentError, match="codes are 0 to 3, got 0 to 4"):
        SMALL.completions(torch.tensor([[[0], [4]]]))
    with pytest.raises(AlignmentError, match="text ids are 0 to 2, got 3 to 3"):
        SMALL.prompts(torch.tensor([[3]]), torch.zeros(1, 2))
    with pytest.raises(AlignmentError, match="exactly one BOS"):
        SMALL.split(torch.tensor([[SMALL.first_text, SMALL.first_start, SMALL.first_total]]))
    with pytest.raises(AlignmentError, match="one start bin and one total bin"):
        SMALL.split(torch.tensor([[SMALL.first_start, SMALL.first_start, SMALL.bos]]))
    with pytest.raises(AlignmentError, match="whole steps of 2 ids and EOS, got 4 ids"):
        SMALL.codes(torch.tensor([[0, 4, 1, SMALL.eos]]))
