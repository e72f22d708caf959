"""Prompts, checkpoints from folders, and clips from request to ready."""

import json
import random
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import IntegrityError

from attune.catalog.draws import draw_index, draw_integer
from attune.catalog.errors import CatalogError, CheckpointError, ClipOrderError, PromptError
from attune.catalog.models import Checkpoint, Clip, ClipStatus, Prompt
from attune.catalog.prompt_files import STARTER_PROMPTS, read_prompt_file
from attune.catalog.selectors import get_anchor
from attune.catalog.services import (
    ClipOrder,
    MeasuredClip,
    PromptRow,
    add_checkpoint,
    add_prompt_set,
    add_prompts,
    fail_clip,
    fail_stranded_clips,
    find_or_add_prompt,
    record_clip,
    request_clips,
    start_clips,
)
from attune.catalog.storage import clip_audio_file, clip_codes_file
from attune.jobs.models import Job, JobState
from attune.jobs.services import claim_job, finish_job, reap_expired_jobs
from tests.factories import NOW, later, make_checkpoint, make_prompts, write_checkpoint

pytestmark = pytest.mark.django_db


def first_prompt() -> Prompt:
    prompt = make_prompts().prompts.order_by("pk").first()
    assert prompt is not None
    return prompt


def order(
    *,
    prompt: Prompt | None = None,
    checkpoint: Checkpoint | None = None,
    duration_s: float = 2.0,
    seed: int = 1,
    guidance: float = 1.5,
) -> ClipOrder:
    return ClipOrder(
        prompt=prompt or first_prompt(),
        checkpoint=checkpoint or make_checkpoint(),
        duration_s=duration_s,
        seed=seed,
        sampling={"guidance": guidance},
    )


def measured(clip: Clip) -> MeasuredClip:
    return MeasuredClip(
        header=[1, 2],
        unknown_words=["zither"],
        codes_path=clip_codes_file(clip.pk),
        codes_sha256="a" * 64,
        audio_path=clip_audio_file(clip.pk),
        audio_sha256="b" * 64,
        duration_s=2.0,
        sample_rate_hz=16_000,
        gain_db=-2.0,
        loudness_lufs=-21.0,
        peaks=[0.5],
    )


def claim(owner: str = "one", at: float = 0) -> Job:
    job = claim_job(queue="gpu", owner=owner, lease_s=30, now=later(at))
    assert job is not None
    return job


class TestPrompts:
    def test_a_prompt_is_added_once(self) -> None:
        prompt_set = add_prompt_set(name="some")
        rows = [PromptRow(text=" a waltz "), PromptRow(text="a waltz"), PromptRow(text="a march")]
        assert [prompt.text for prompt in add_prompts(prompt_set=prompt_set, rows=rows)] == [
            "a waltz",
            "a march",
        ]
        assert add_prompts(prompt_set=prompt_set, rows=rows) == []
        assert add_prompt_set(name="some") == prompt_set

    @pytest.mark.parametrize("text", ["", "   ", "x" * 501])
    def test_a_blank_or_endless_prompt_is_refused(self, text: str) -> None:
        with pytest.raises(PromptError, match=f"{len(text)} characters: expected 1 to 500"):
            PromptRow(text=text)

    def test_a_prompt_is_found_again_by_its_text(self) -> None:
        first = find_or_add_prompt(prompt_set_name="api", text="a waltz")
        assert find_or_add_prompt(prompt_set_name="api", text="a waltz ") == first

    def test_the_starter_prompts_are_varied_and_a_third_is_held_out(self) -> None:
        rows = read_prompt_file(STARTER_PROMPTS).rows
        assert 75 <= len(rows) <= 100
        assert len({row.text for row in rows}) == len(rows)
        assert 0.3 <= sum(row.is_held_out for row in rows) / len(rows) <= 0.4
        styles = {"ballad", "lo-fi", "waltz", "march", "dance", "folk", "lullaby", "ambient"}
        for held_out in (False, True):
            found = {tag for row in rows if row.is_held_out == held_out for tag in row.tags}
            assert found == styles
        tones = ("bright", "crisp", "sparkling", "warm", "mellow", "muffled")
        n_open = sum(not any(tone in row.text for tone in tones) for row in rows)
        assert n_open / len(rows) > 0.8

    def test_a_file_that_is_no_prompt_file_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "prompts.json"
        file.write_text('{"name": "x", "prompts": [{"txt": "a"}]}')
        with pytest.raises(PromptError, match=r"prompts\.json is no prompt file: KeyError"):
            read_prompt_file(file)


class TestCheckpoints:
    def test_a_folder_is_registered_once(self, tmp_path: Path) -> None:
        folder = write_checkpoint(tmp_path / "tiny", name="tiny")
        checkpoint = add_checkpoint(folder=folder)
        assert (checkpoint.name, checkpoint.kind, checkpoint.family) == ("tiny", "full", "starter")
        assert add_checkpoint(folder=folder, name="another name") == checkpoint
        assert Checkpoint.objects.count() == 1

    def test_the_hash_is_the_one_the_generator_computes(self, tmp_path: Path) -> None:
        from generator.checkpoints import content_hash
        from tests.tiny import write_tiny_checkpoint

        folder = write_tiny_checkpoint(tmp_path / "tiny")
        assert add_checkpoint(folder=folder).content_hash == content_hash(folder)

    def test_a_folder_that_moved_is_found_at_its_new_place(self, tmp_path: Path) -> None:
        add_checkpoint(folder=write_checkpoint(tmp_path / "old", name="tiny"))
        new = (tmp_path / "old").rename(tmp_path / "new")
        assert add_checkpoint(folder=new).folder == str(new)

    def test_an_altered_file_is_refused_by_name(self, tmp_path: Path) -> None:
        folder = write_checkpoint(tmp_path / "tiny", name="tiny")
        (folder / "lm.safetensors").write_bytes(b"something else")
        with pytest.raises(CheckpointError, match=r"lm\.safetensors .* was altered") as caught:
            add_checkpoint(folder=folder)
        assert (caught.value.file, caught.value.folder) == ("lm.safetensors", folder)
        assert not Checkpoint.objects.exists()

    def test_a_missing_file_is_refused_by_name(self, tmp_path: Path) -> None:
        folder = write_checkpoint(tmp_path / "tiny", name="tiny")
        (folder / "lm.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"lm\.safetensors is missing"):
            add_checkpoint(folder=folder)

    @pytest.mark.parametrize(
        ("card", "said"),
        [
            ("{", "cannot be read"),
            ("[]", "no JSON object"),
            ('{"files": {}}', "names no files"),
            ('{"files": {"../../secret": "0"}}', "lies outside"),
        ],
    )
    def test_a_broken_card_is_refused(self, tmp_path: Path, card: str, said: str) -> None:
        folder = tmp_path / "tiny"
        folder.mkdir()
        (folder / "card.json").write_text(card)
        with pytest.raises(CheckpointError, match=said):
            add_checkpoint(folder=folder)

    def test_an_empty_folder_is_not_a_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"no card\.json"):
            add_checkpoint(folder=tmp_path)

    def test_a_taken_name_is_refused(self, tmp_path: Path) -> None:
        add_checkpoint(folder=write_checkpoint(tmp_path / "a", name="tiny"))
        other = write_checkpoint(tmp_path / "b", name="tiny", content="other weights")
        with pytest.raises(CheckpointError, match="'tiny' is taken"):
            add_checkpoint(folder=other)

    def test_an_adapter_finds_its_parent_by_hash(self, tmp_path: Path) -> None:
        base = add_checkpoint(folder=write_checkpoint(tmp_path / "a", name="base"))
        folder = write_checkpoint(tmp_path / "b", name="round 1", kind="adapter", parent=base)
        assert add_checkpoint(folder=folder).parent == base

    def test_an_adapter_without_its_parent_is_refused(self, tmp_path: Path) -> None:
        folder = write_checkpoint(tmp_path / "b", name="round 1", kind="adapter")
        with pytest.raises(CheckpointError, match="needs its parent"):
            add_checkpoint(folder=folder)

    def test_an_adapter_on_other_weights_than_it_was_made_on_is_refused(
        self, tmp_path: Path
    ) -> None:
        base = add_checkpoint(folder=write_checkpoint(tmp_path / "a", name="base"))
        other = add_checkpoint(folder=write_checkpoint(tmp_path / "c", name="other"))
        folder = write_checkpoint(tmp_path / "b", name="round 1", kind="adapter", parent=base)
        with pytest.raises(CheckpointError, match="was made on weights"):
            add_checkpoint(folder=folder, parent=other)

    def test_what_learned_from_simulated_ratings_is_marked_down_the_line(
        self, tmp_path: Path
    ) -> None:
        parent = add_checkpoint(folder=write_checkpoint(tmp_path / "a", name="base"))
        for depth in range(2):
            folder = write_checkpoint(
                tmp_path / f"adapter {depth}", name=f"round {depth}", kind="adapter", parent=parent
            )
            parent = add_checkpoint(folder=folder, parent=parent, is_simulated=depth == 0)
            assert parent.is_simulated

    def test_the_database_refuses_an_adapter_without_a_parent(self) -> None:
        with pytest.raises(IntegrityError, match="adapter_checkpoint_has_a_parent"):
            Checkpoint.objects.create(name="x", kind="adapter", family="starter", folder="x")

    def test_a_population_without_an_anchor_says_so(self) -> None:
        with pytest.raises(CatalogError, match="no anchor in rotation for people"):
            get_anchor("people")


class TestClips:
    def test_a_job_holds_clips_of_one_checkpoint_duration_and_sampling(
        self, settings: LazySettings
    ) -> None:
        settings.ATTUNE_MAX_BATCH_CLIPS = 4
        prompt, one, two = first_prompt(), make_checkpoint(), make_checkpoint()
        orders = [order(prompt=prompt, checkpoint=one, seed=seed) for seed in range(6)]
        orders += [
            order(prompt=prompt, checkpoint=two),
            order(prompt=prompt, checkpoint=one, duration_s=3),
            order(prompt=prompt, checkpoint=one, guidance=3),
        ]
        clips = request_clips(requests=orders, priority=7)
        assert [clip.seed for clip in clips] == [0, 1, 2, 3, 4, 5, 1, 1, 1]
        sizes = [job.clips.count() for job in Job.objects.order_by("pk")]
        assert sizes == [4, 2, 1, 1, 1]
        assert set(Job.objects.values_list("priority", flat=True)) == {7}
        for job in Job.objects.all():
            kinds = {
                (clip.checkpoint_id, clip.requested_duration_s, json.dumps(clip.sampling))
                for clip in job.clips.all()
            }
            assert len(kinds) == 1

    @pytest.mark.parametrize("duration_s", [0, 0.5, 31])
    def test_a_duration_outside_1_to_30_s_is_refused(self, duration_s: float) -> None:
        with pytest.raises(ClipOrderError, match=rf"{duration_s} s: expected 1 to 30 s"):
            order(duration_s=duration_s)

    def test_a_negative_seed_is_refused(self) -> None:
        with pytest.raises(ClipOrderError, match="seed -1"):
            order(seed=-1)

    def test_a_clip_is_recorded_once_with_what_was_measured(self) -> None:
        request_clips(requests=[order()])
        job = claim()
        [clip] = start_clips(job=job)
        assert clip.status == ClipStatus.GENERATING
        assert record_clip(clip=clip, job=job, owner="one", measured=measured(clip))
        assert not record_clip(clip=clip, job=job, owner="one", measured=measured(clip))
        assert not fail_clip(clip=clip, job=job, owner="one", error="late")
        clip.refresh_from_db()
        assert (clip.status, clip.header, clip.unknown_words, clip.loudness_lufs) == (
            ClipStatus.READY,
            [1, 2],
            ["zither"],
            -21.0,
        )

    def test_a_worker_that_lost_its_job_records_nothing(self) -> None:
        request_clips(requests=[order()])
        lost = claim("one")
        [clip] = start_clips(job=lost)
        reap_expired_jobs(now=later(31))
        job = claim("two", at=32)
        assert not record_clip(clip=clip, job=lost, owner="one", measured=measured(clip))
        assert not fail_clip(clip=clip, job=lost, owner="one", error="x")
        [again] = start_clips(job=job)
        assert record_clip(clip=again, job=job, owner="two", measured=measured(clip))

    def test_a_second_attempt_makes_only_what_is_missing(self) -> None:
        prompt, checkpoint = first_prompt(), make_checkpoint()
        request_clips(
            requests=[order(prompt=prompt, checkpoint=checkpoint, seed=seed) for seed in range(3)]
        )
        job = claim()
        first, second, third = start_clips(job=job)
        record_clip(clip=first, job=job, owner="one", measured=measured(first))
        fail_clip(clip=second, job=job, owner="one", error="refused")
        assert start_clips(job=job) == [third]

    def test_clips_of_a_job_that_ended_without_them_fail(self) -> None:
        [clip] = request_clips(requests=[order()])
        assert fail_stranded_clips() == []
        finish_job(job=claim(), owner="one", state=JobState.FAILED, now=NOW, error="boom")
        assert fail_stranded_clips() == [clip]
        clip.refresh_from_db()
        assert clip.status == ClipStatus.FAILED
        assert "ended without this clip" in clip.error

    def test_the_database_refuses_a_ready_clip_without_audio(self) -> None:
        [clip] = request_clips(requests=[order()])
        with pytest.raises(IntegrityError, match="ready_clip_has_codes_audio_and_measurements"):
            Clip.objects.filter(pk=clip.pk).update(status=ClipStatus.READY)


class TestDraws:
    def test_an_index_without_weight_is_never_drawn(self) -> None:
        rng = random.Random(1)
        assert {draw_index([0, 1, 0, 3, 0], rng) for _ in range(300)} == {1, 3}

    def test_weights_that_cannot_be_drawn_from_are_refused(self) -> None:
        for weights in ([0.0, 0.0], [1.0, -0.5]):
            with pytest.raises(ValueError, match="weights"):
                draw_index(weights, random.Random(1))

    def test_integers_stay_below_their_limit(self) -> None:
        class AlmostOne:
            def random(self) -> float:
                return 1 - 2**-53

        assert draw_integer(2**31, AlmostOne()) == 2**31 - 1
        assert draw_integer(3, AlmostOne()) == 2


@pytest.mark.parametrize(
    "text", ["", "  ", "\u200b\ufeff", "slow\x00piano", "bell\x07", "\ud83c piano"]
)
def test_a_prompt_that_cannot_be_read_is_refused_before_a_worker_meets_it(text: str) -> None:
    with pytest.raises(PromptError):
        PromptRow(text)


@pytest.mark.parametrize("text", ["lento\tpiano", "静かなピアノ", "🎹 🥁", "a\nb"])
def test_a_prompt_of_any_script_is_taken(text: str) -> None:
    assert PromptRow(text).text == text
