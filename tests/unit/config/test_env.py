from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import Environment, broker_settings, database_settings


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("Yes", True), ("off", False)])
def test_a_boolean_is_read_from_words(value: str, expected: bool) -> None:
    assert Environment({"X": value}).boolean("X", not expected) is expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda env: env.boolean("X", True), "maybe"),
        (lambda env: env.integer("X", 1, minimum=1, maximum=9), "ten"),
        (lambda env: env.integer("X", 1, minimum=1, maximum=9), "10"),
        (lambda env: env.number("X", 1.0, minimum=0.0, maximum=1.0), "nan"),
        (lambda env: env.choice("X", "a", allowed=("a", "b")), "c"),
    ],
)
def test_a_bad_value_names_variable_and_value(read: object, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"X='?{value}'?"):
        read(Environment({"X": value}))  # type: ignore[operator]


def test_an_absent_variable_gives_the_default() -> None:
    env = Environment({"X": ""})
    assert env.integer("X", 7, minimum=0, maximum=9) == 7
    assert env.words("X", ("a",)) == ["a"]
    assert env.path("X", Path("/tmp")) == Path("/tmp")


def test_no_database_url_means_sqlite_with_immediate_transactions() -> None:
    entry = database_settings("", sqlite_file=Path("/home/x/db.sqlite3"))
    assert entry["NAME"] == "/home/x/db.sqlite3"
    assert entry["OPTIONS"]["transaction_mode"] == "IMMEDIATE"  # type: ignore[index]


def test_a_postgresql_url_is_taken_apart() -> None:
    entry = database_settings(
        "postgresql://ann:p%40ss@db:5433/attune?sslmode=require", sqlite_file=Path("x")
    )
    assert (entry["USER"], entry["PASSWORD"], entry["HOST"], entry["PORT"], entry["NAME"]) == (
        "ann", "p@ss", "db", "5433", "attune",
    )  # fmt: skip
    assert entry["OPTIONS"]["sslmode"] == "require"  # type: ignore[index]


def test_a_postgresql_url_may_name_a_socket_folder() -> None:
    entry = database_settings("postgresql://ann@/attune?host=/run/pg", sqlite_file=Path("x"))
    assert entry["HOST"] == "/run/pg"
    assert "host" not in entry["OPTIONS"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "url", ["mysql://a/b", "postgresql://host", "nonsense", "postgresql://u:secret@h:port/db"]
)
def test_an_unknown_database_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as refused:
        database_settings(url, sqlite_file=Path("x"))
    assert "secret" not in str(refused.value)


def test_the_embedded_broker_is_a_folder() -> None:
    url, options = broker_settings("", folder=Path("/q"))
    assert url == "filesystem://"
    assert options["data_folder_in"] == options["data_folder_out"] == "/q"


def test_an_unknown_broker_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="BROKER_URL"):
        broker_settings("kafka://x", folder=Path("/q"))


@pytest.mark.parametrize(
    ("url", "name"),
    [("", "home.db"), ("sqlite:////data/a.db", "/data/a.db"), ("sqlite:///a.db", "a.db")],
)
def test_a_sqlite_url_names_its_file(url: str, name: str) -> None:
    assert database_settings(url, sqlite_file=Path("home.db"))["NAME"] == name
