import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest

from alignment.__main__ import main
from alignment.errors import ConfigError, RunFolderError, StopRequested
from alignment.reward.config import RewardConfig
from alignment.reward.features import codes_of_recording, codes_of_waveform
from alignment.reward.model import load_reward
from alignment.reward.sources import codec_hash
from alignment.reward.training import train_reward_run
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from generator.audio import write_wav
from generator.checkpoints import verify_folder, write_card
from generator.codec.model import load_codec
from generator.command import STARTER
from generator.errors import CheckpointError, RequestError
from generator.representation.encoder import RepresentationEncoder, save_encoder
from tests.tiny import TINY_CODEC
from tests.unit.alignment.planted import FEW_CODES
from tests.unit.alignment.reward_runs import (
    N_FRAMES,
    TINY_ENCODER,
    Pairs,
    coin,
    draw_clip,
    likes_low,
    lowness,
    read_rows,
    write_reward_run,
    write_rows,
)


def train(folder: Path) -> dict[str, Any]:
    return train_reward_run(read_run(folder), stop=StopSwitch())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_reward_run(tmp_path_factory.mktemp("reward"))
    train(run)
    return run


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A folder of the trained reward model that a test may spoil."""
    return copytree(trained / "result", tmp_path / "reward")


def test_a_planted_taste_is_recovered_on_unseen_prompts_and_raters(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())

    assert summary["n_disjoint"] == summary["n_held_out"] == 80
    assert summary["held_out"]["accuracy"] >= 0.85
    assert summary["held_out"]["low"] > 0.75
    rng = np.random.default_rng(5)
    clips = [draw_clip(rng) for _ in range(100)]
    scores = load_reward(trained / "result").score(clips)
    assert np.corrcoef(scores.mean, [lowness(clip) for clip in clips])[0, 1] > 0.85


def test_random_labels_give_an_accuracy_of_chance(tmp_path: Path) -> None:
    run = write_reward_run(tmp_path, Pairs(n_held_out=200, judge=coin))

    held_out = train(run)["held_out"]

    assert held_out["low"] < 0.5 < held_out["high"]
    assert held_out["n"] == 200


def test_the_result_is_a_checkpoint_of_its_own_kind_with_everything_that_made_it(
    trained: Path,
) -> None:
    card = verify_folder(trained / "result")

    assert (card.kind, card.name, card.parent) == ("reward", "tiny-reward", None)
    assert set(card.files) == {
        *("reward.json", "reward.safetensors", "encoder.json", "encoder.safetensors"),
        *("report.json", "calibration.png"),
    }
    assert card.recipe["config"]["n_members"] == 5
    assert len(card.recipe["seeds"]) == 5
    assert len(card.recipe["encoder_sha256"]) == 64
    assert card.recipe["resampled"] == "raters"
    assert card.recipe["dataset_sha256"]
    assert (trained / "result" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((trained / "result" / "report.json").read_text())
    assert report["self_agreement"] == {"source": "unknown"}
    assert sum(found["n"] for found in report["disjoint"]["bins"]) == 80
    assert report["cross_validated"]["n"] == 160


def test_progress_tells_of_every_member(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "progress.jsonl").read_text().splitlines()]

    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert {line["n_steps"] for line in lines} == {5}
    assert lines[-1]["held_out_accuracy"] >= 0.85
    assert lines[-1]["eta_s"] == 0.0


def test_members_differ_and_agree_less_on_codes_unlike_any_they_saw(trained: Path) -> None:
    model = load_reward(trained / "result")
    rng = np.random.default_rng(6)
    usual = model.score([draw_clip(rng) for _ in range(50)])
    one_code = [np.full((2, N_FRAMES), code, np.int16) for code in range(FEW_CODES)]

    assert (usual.std > 0).all()
    assert model.score(one_code).std.mean() > 2 * usual.std.mean()


def test_the_lower_score_subtracts_the_members_disagreement(trained: Path) -> None:
    scores = load_reward(trained / "result").score([draw_clip(np.random.default_rng(0))])

    assert scores.lower(0.0) == pytest.approx(scores.mean)
    assert scores.lower(2.0) == pytest.approx(scores.mean - 2 * scores.std)


def test_a_clip_scores_alike_alone_and_among_longer_ones(trained: Path) -> None:
    model = load_reward(trained / "result")
    rng = np.random.default_rng(7)
    clips = [draw_clip(rng, n_frames) for n_frames in (30, 50, 90)]

    together = model.score(clips)

    for number, clip in enumerate(clips):
        alone = model.score([clip])
        assert together.mean[number] == pytest.approx(alone.mean[0], abs=1e-4)
        assert together.std[number] == pytest.approx(alone.std[0], abs=1e-4)
    assert len(model.score([]).mean) == 0


def test_codebooks_beyond_those_the_encoder_reads_change_nothing(trained: Path) -> None:
    model = load_reward(trained / "result")
    clip = draw_clip(np.random.default_rng(8))
    four = np.concatenate([clip, np.zeros_like(clip)])

    assert model.score([four]).mean == pytest.approx(model.score([clip]).mean)


def test_a_run_stopped_between_members_goes_on_to_the_same_model(
    trained: Path, tmp_path: Path
) -> None:
    run = copytree(trained, tmp_path / "run")
    rmtree(run / "result")
    for number in (3, 4):
        (run / "checkpoints" / f"member-{number}.json").unlink()
    kept = (run / "checkpoints" / "member-2.json").stat().st_mtime_ns

    train(run)

    assert (run / "checkpoints" / "member-2.json").stat().st_mtime_ns == kept
    clip = draw_clip(np.random.default_rng(9))
    again, first = (load_reward(place / "result").score([clip]) for place in (run, trained))
    assert again.mean == pytest.approx(first.mean, abs=1e-9)
    assert again.std == pytest.approx(first.std, abs=1e-9)


def test_a_run_that_was_asked_to_stop_publishes_nothing(tmp_path: Path) -> None:
    run = read_run(write_reward_run(tmp_path, Pairs(n_train=20, n_held_out=0)))
    stop = StopSwitch()
    stop.requested = True

    with pytest.raises(StopRequested):
        train_reward_run(run, stop=stop)

    assert not run.result.exists()


def test_a_run_with_a_result_returns_its_summary_again(trained: Path) -> None:
    assert train(trained) == json.loads((trained / "summary.json").read_text())


def test_rows_that_share_a_prompt_or_a_rater_are_kept_out_of_the_disjoint_figures(
    tmp_path: Path,
) -> None:
    run = write_reward_run(tmp_path, Pairs(n_train=40, n_held_out=20))
    rows = read_rows(run)
    held_out = [row for row in rows if row["split"] == "held_out"]
    for row in held_out[:3]:
        row["prompt"] = rows[0]["prompt"]
    for row in held_out[3:8]:
        row["raters"] = rows[0]["raters"]
    write_rows(tmp_path, rows, {})

    summary = train(run)

    assert (summary["n_prompts_shared"], summary["n_raters_shared"]) == (3, 5)
    assert (summary["n_held_out"], summary["n_disjoint"]) == (20, 12)
    assert summary["held_out"]["n"] == 12


def test_ties_teach_how_often_equal_clips_tie(tmp_path: Path) -> None:
    def ties_when_close(first: Any, second: Any, rng: np.random.Generator) -> dict[str, Any]:
        if abs(lowness(first) - lowness(second)) < 0.1:
            return {"outcome": "tie", "counts": {"tie": 1}}
        return dict(likes_low(first, second, rng))

    run = write_reward_run(tmp_path, Pairs(judge=ties_when_close, n_held_out=40))

    summary = train(run)

    stored = json.loads((run / "result" / "reward.json").read_text())
    assert all(0.2 < share < 0.95 for share in stored["tie_shares"])
    assert summary["held_out"]["n_ties"] > 0
    assert summary["held_out"]["outcome_nll"] < np.log(3)


def test_ties_are_left_out_where_the_settings_say_so(tmp_path: Path) -> None:
    def half_ties(first: Any, second: Any, rng: np.random.Generator) -> dict[str, Any]:
        return {"outcome": "tie", "counts": {"tie": 1}} if rng.random() < 0.5 else {}

    asked = Pairs(n_train=40, n_held_out=0, judge=half_ties, config={"uses_ties": False})
    run = write_reward_run(tmp_path, asked)
    n_decided = sum("outcome" not in row for row in read_rows(run))

    assert train(run)["n_train"] == n_decided
    stored = json.loads((run / "result" / "reward.json").read_text())
    assert stored["tie_shares"] == [None] * 5


def test_both_bad_pairs_teach_nothing_and_are_counted(tmp_path: Path) -> None:
    def first_ones_bad(first: Any, second: Any, rng: np.random.Generator) -> dict[str, Any]:
        if rng.random() < 0.3:
            return {"outcome": "both_bad", "counts": {"both_bad": 1}}
        return dict(likes_low(first, second, rng))

    run = write_reward_run(tmp_path, Pairs(n_train=40, n_held_out=0, judge=first_ones_bad))
    n_bad = sum(row.get("outcome") == "both_bad" for row in read_rows(run))

    summary = train(run)

    assert n_bad > 0
    assert (summary["n_both_bad"], summary["n_train"]) == (n_bad, 40 - n_bad)
    assert summary["held_out"] is None


def test_no_decided_rating_is_told_with_counts(tmp_path: Path) -> None:
    def ties(first: Any, second: Any, rng: np.random.Generator) -> dict[str, Any]:
        return {"outcome": "tie", "counts": {"tie": 1}}

    run = write_reward_run(tmp_path, Pairs(n_train=6, n_held_out=0, judge=ties))

    with pytest.raises(RunFolderError, match="6 rows, 6 to learn from, none with a rating"):
        train(run)


def test_a_missing_encoder_is_told_by_its_folder(tmp_path: Path) -> None:
    run = write_reward_run(tmp_path, Pairs(n_train=6, n_held_out=0, config={"encoder": "nowhere"}))

    with pytest.raises(RunFolderError, match=r"nowhere/encoder\.json is missing"):
        train(run)


def test_a_folder_of_another_kind_is_no_reward_model(trained: Path) -> None:
    with pytest.raises(CheckpointError, match="kind full, expected reward"):
        load_reward(trained.parent / "base")


def test_a_changed_file_is_found_by_its_hash(copied: Path) -> None:
    (copied / "reward.json").write_text("{}")

    with pytest.raises(CheckpointError, match=r"reward\.json has sha256"):
        load_reward(copied)


def test_codes_that_do_not_fit_are_told_with_their_shape(trained: Path) -> None:
    model = load_reward(trained / "result")

    with pytest.raises(RequestError, match=r"clip 2: .*shape \(1, 50\)"):
        model.score([np.zeros((2, 50), np.int16), np.zeros((1, 50), np.int16)])
    with pytest.raises(RequestError, match="codes are 0 to 15, got 3 to 99"):
        model.score([np.array([[3, 99], [3, 3]], np.int16)])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n_members": 1}, "n_members is 2 to 50, got 1"),
        ({"tie_model": "thurstone"}, "tie_model is one of"),
        ({"features": ["spectrum"]}, "features are some of"),
        ({"self_agreement": 0.8}, "given together"),
        ({"lora_rank": 4}, "unknown settings"),
    ],
)
def test_settings_outside_what_is_allowed_are_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RewardConfig.from_mapping(asked)


def test_settings_survive_json() -> None:
    config = replace(RewardConfig(), features=("codec",), n_members=3)

    assert RewardConfig.from_mapping(json.loads(json.dumps(config.to_mapping()))) == config


def test_the_command_scores_codes_and_sound_alike(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec = load_codec(trained.parent / "base")
    waveform = np.random.default_rng(0).normal(0, 0.1, 2 * TINY_CODEC.sample_rate_hz)
    sound, codes = tmp_path / "clip.wav", tmp_path / "clip.npy"
    write_wav(sound, waveform.astype(np.float32), TINY_CODEC.sample_rate_hz)
    np.save(codes, codes_of_recording(codec, sound))
    options = ["score", "--reward", str(trained / "result"), "--penalty", "2"]

    code = main([*options, "--codec", str(trained.parent / "base"), str(codes), str(sound)])

    assert code == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first.pop("clip"), second.pop("clip")) == (str(codes), str(sound))
    assert first == second
    assert first["lower"] == pytest.approx(first["mean"] - 2 * first["std"], abs=1e-3)


def test_the_command_refuses_sound_for_a_codec_the_model_never_heard(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = tmp_path / "clip.wav"
    write_wav(sound, np.zeros(16000, np.float32), 16000)

    code = main(["score", "--reward", str(trained / "result"), str(sound)])

    assert code == 65
    assert "name the right one by --codec" in capsys.readouterr().err


def test_a_waveform_of_another_rate_is_coded_as_it_sounds(trained: Path) -> None:
    codec = load_codec(trained.parent / "base")
    waveform = np.random.default_rng(0).normal(0, 0.1, (2, 48000)).astype(np.float32)

    codes = codes_of_waveform(codec, waveform, 48000)

    assert codes.dtype == np.int16
    assert codes.shape == (4, 25)
    with pytest.raises(RequestError, match="finite samples"):
        codes_of_waveform(codec, np.full(1000, np.nan), 16000)


def test_clips_of_a_stereo_base_are_heard_in_mono_by_the_starters_codec(tmp_path: Path) -> None:
    run = write_reward_run(tmp_path, Pairs(n_train=8, n_held_out=0, n_prompts=1))
    write_card(tmp_path / "base", name="wide", kind="full", licence="Apache-2.0", channels=2)
    wide = RepresentationEncoder(replace(TINY_ENCODER, codebook_size=512))
    save_encoder(wide, tmp_path / "encoder")

    train(run)

    stored = json.loads((run / "result" / "reward.json").read_text())
    assert stored["codec_sha256"] == codec_hash(STARTER)
    assert load_reward(run / "result").reader.codebooks.shape == (2, 512, 64)
