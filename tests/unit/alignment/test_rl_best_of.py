"""Best-of-N: the clip a reward likes best, made as the checkpoint usually makes clips."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from alignment.errors import RunFolderError
from alignment.rl.best_of import Wish, best_clips, most_nats, read_wishes, write_best
from alignment.rl.rewards import Codes
from generator.synthesis import Generator, load_generator
from tests.tiny import TINY_PROMPTS, write_tiny_checkpoint


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(write_tiny_checkpoint(tmp_path_factory.mktemp("base")))


def first_code(codes: Sequence[Codes]) -> np.ndarray:
    return np.array([float(clip[0, 0]) for clip in codes])


def test_the_clip_with_the_highest_reward_is_kept(generator: Generator) -> None:
    wishes = [Wish(prompt, 1.0) for prompt in TINY_PROMPTS[:2]]
    found = best_clips(generator, first_code, wishes, n_clips=4, first_seed=100)
    assert [best.wish for best in found] == wishes
    for number, best in enumerate(found):
        assert best.reward == max(best.rewards) == first_code([best.clip.codes])[0]
        assert best.clip.seed == 100 + 4 * number + int(np.argmax(best.rewards))
        assert len(set(best.rewards)) > 1


def test_of_one_clip_the_best_is_that_clip(generator: Generator) -> None:
    (best,) = best_clips(generator, first_code, [Wish(TINY_PROMPTS[0], 1.0)], n_clips=1)
    assert best.rewards == (best.reward,)
    assert best.clip.seed == 0


def test_the_best_is_written_with_all_that_makes_it_again(
    generator: Generator, tmp_path: Path
) -> None:
    (best,) = best_clips(generator, first_code, [Wish(TINY_PROMPTS[0], 1.0)], n_clips=2)
    line = json.loads(json.dumps(write_best(tmp_path, 0, best)))
    np.testing.assert_array_equal(np.load(tmp_path / line["codes"]), best.clip.codes)
    assert (tmp_path / line["wav"]).stat().st_size > 16000
    assert (line["seed"], line["header"]) == (best.clip.seed, list(best.clip.header))


def test_best_of_eight_departs_by_little() -> None:
    assert most_nats(1) == 0.0
    assert most_nats(8) == pytest.approx(3 * math.log(2) - 7 / 8)


def test_a_broken_line_of_prompts_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a", "duration_s": 5}\n{"prompt": "b"}\n')
    with pytest.raises(RunFolderError, match="line 2 is no prompt: 'duration_s'"):
        read_wishes(path)
    path.write_text("\n")
    with pytest.raises(RunFolderError, match="holds no prompts"):
        read_wishes(path)
    path.write_text('{"prompt": "a", "duration_s": 5}\n')
    assert read_wishes(path) == [Wish("a", 5.0)]
