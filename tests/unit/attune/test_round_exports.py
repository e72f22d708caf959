"""Frozen datasets as files: the same bytes each time, whatever becomes of the ratings."""

import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from attune.ratings.choices import Choice
from attune.ratings.models import Rating
from attune.rounds.errors import DatasetError
from attune.rounds.exports import ExportFormat, export_dataset, export_file_name
from attune.rounds.models import Round
from attune.rounds.services import create_round
from tests.unit.attune.rated import RatedStudy, rated_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    return rated_study(tmp_path)


@pytest.fixture
def frozen(world: RatedStudy) -> Round:
    world.rate_pairs([Choice.A, Choice.B] * 5 + [Choice.TIE])
    return create_round(study=world.study, base_checkpoint=world.base, config={"loss": "davidson"})


@pytest.mark.parametrize("format", ExportFormat)
def test_an_export_has_the_same_bytes_after_ratings_were_edited_and_added(
    world: RatedStudy, frozen: Round, format: ExportFormat
) -> None:
    before = export_dataset(frozen, format)
    Rating.objects.filter(choice=Choice.A).update(choice=Choice.B)
    Rating.objects.filter(choice=Choice.TIE).update(choice=Choice.BOTH_BAD)
    world.rate_pairs([Choice.A] * 6)
    world.study.name = "Another name"
    world.study.save()
    assert export_dataset(Round.objects.get(pk=frozen.pk), format) == before


def test_parquet_and_json_lines_hold_the_same_rows(frozen: Round) -> None:
    lines = export_dataset(frozen, ExportFormat.JSONL).splitlines()
    table = pq.read_table(io.BytesIO(export_dataset(frozen, ExportFormat.PARQUET)))
    assert table.to_pylist() == [json.loads(line) for line in lines]
    told = json.loads(table.schema.metadata[b"attune"])
    assert told["dataset_sha256"] == frozen.dataset_sha256
    assert told["exclusion_rules"] == "on-policy-3"
    assert {row["outcome"] for row in table.to_pylist()} == {"chosen", "tie"}


@pytest.mark.parametrize("format", ExportFormat)
def test_the_datasets_library_reads_what_trl_calls_a_preference_dataset(
    frozen: Round, format: ExportFormat, tmp_path: Path
) -> None:
    file = tmp_path / export_file_name(frozen, format)
    file.write_bytes(export_dataset(frozen, format))
    builder = {ExportFormat.JSONL: "json", ExportFormat.PARQUET: "parquet"}[format]
    loaded = datasets.load_dataset(
        builder, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert {"prompt", "chosen", "rejected"} <= set(loaded.column_names)
    assert len(loaded) == 11


def test_a_dataset_that_was_tampered_with_is_not_exported(frozen: Round) -> None:
    frozen.preferences.filter(n_chosen=1).update(n_chosen=2)
    for format in ExportFormat:
        with pytest.raises(DatasetError, match=frozen.dataset_sha256):
            export_dataset(frozen, format)
