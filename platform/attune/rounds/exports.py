"""A round's frozen dataset as files for other programs; the same bytes each time.

JSON Lines are the canonical bytes that the round's hash covers. Parquet holds the same rows
under a fixed schema, written by pyarrow with fixed settings: its bytes are the same for the same
version of pyarrow. Both have TRL's columns prompt, chosen and rejected; chosen and rejected name
files of codes, as `alignment` reads them.
"""

import io
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, assert_never

import pyarrow as pa
import pyarrow.parquet as pq

from attune.rounds.dataset import FORMAT_WITH_RATINGS, dataset_bytes, export_preferences
from attune.rounds.models import Round

ROW_GROUP_ROWS = 65_536


class ExportFormat(StrEnum):
    """The kinds of files that a dataset is exported as; the value is the file's ending."""

    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """What a browser is told that the file is."""
        match self:
            case ExportFormat.JSONL:
                return "application/jsonl"
            case ExportFormat.PARQUET:
                return "application/vnd.apache.parquet"
            case _:
                assert_never(self)


_COUNTS = pa.struct([(name, pa.int32()) for name in ("chosen", "rejected", "tie", "both_bad")])
_CLIP_FIELDS = (
    ("pair", pa.int64()),
    ("prompt", pa.string()),
    ("chosen", pa.string()),
    ("rejected", pa.string()),
    ("chosen_sha256", pa.string()),
    ("rejected_sha256", pa.string()),
    ("header", pa.list_(pa.int32())),
    ("duration_s", pa.float64()),
    ("weight", pa.float64()),
    ("split", pa.string()),
)
_RATING_FIELDS = (
    ("outcome", pa.string()),
    ("counts", _COUNTS),
    ("raters", pa.list_(pa.int32())),
)


def export_file_name(round: Round, format: ExportFormat) -> str:
    """The name of an exported file, which tells its round and its content."""
    return f"{round.name}-{round.dataset_sha256[:12]}.{format.value}"


def export_dataset(round: Round, format: ExportFormat) -> bytes:
    """The round's frozen preferences as a file. DatasetError if they no longer match the hash."""
    rows = export_preferences(round)
    match format:
        case ExportFormat.JSONL:
            return dataset_bytes(rows)
        case ExportFormat.PARQUET:
            return _parquet_bytes(rows, round)
        case _:
            assert_never(format)


def describe_dataset(round: Round) -> dict[str, Any]:
    """What a dataset is: its hash and format, and by which rules and filters it came about."""
    return {
        "round": round.name,
        "study": round.study.slug,
        "population": round.population,
        "base_checkpoint": round.base_checkpoint.name,
        "dataset_format": round.dataset_format,
        "dataset_sha256": round.dataset_sha256,
        "exclusion_rules": round.exclusion_rules,
        "filters": round.filters,
        "counts": round.counts,
    }


def _parquet_bytes(rows: Sequence[Mapping[str, Any]], round: Round) -> bytes:
    has_ratings = round.dataset_format >= FORMAT_WITH_RATINGS
    told = json.dumps(describe_dataset(round), sort_keys=True, separators=(",", ":"))
    schema = pa.schema(
        [*_CLIP_FIELDS, *(_RATING_FIELDS if has_ratings else ())],
        metadata={"attune": told},
    )
    content = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(list(rows), schema=schema),
        content,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        row_group_size=ROW_GROUP_ROWS,
        store_schema=True,
    )
    return content.getvalue()
