"""What a rehearsal refuses before its first request."""

from pathlib import Path

import pytest

from alignment.simulation.tastes import Taste
from rehearsal.__main__ import main, parse, read_options
from rehearsal.errors import RehearsalError


def words(tmp_path: Path, *more: str, tokens: str = "one\n\n two \n") -> list[str]:
    file = tmp_path / "tokens"
    file.write_text(tokens)
    return ["--engineer-token", "e", "--rater-tokens-file", str(file), *more]


def test_the_defaults_are_the_rehearsal_of_the_readme(tmp_path: Path) -> None:
    options = read_options(words(tmp_path))
    assert (options.taste, options.agreement) == (Taste.DARKER, 0.75)
    assert (options.n_pairs, options.duration_s, options.n_judgements) == (480, 5.0, 120)
    assert options.rater_tokens == ("one", "two")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--agreement", "0.3"], "agreement is 0.5 to 1, got 0.3"),
        (["--pairs", "0"], "--pairs is at least 1, got 0"),
        (["--duration", "60"], "--duration is 1 to 30 seconds, got 60"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, *more)) == 1
    assert said in capsys.readouterr().err


def test_an_empty_file_of_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="holds none"):
        read_options(words(tmp_path, tokens="\n"))


def test_the_engineers_token_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTUNE_ENGINEER_TOKEN", "from the environment")
    arguments = words(tmp_path)[2:]
    assert read_options(arguments).engineer_token == "from the environment"
    monkeypatch.delenv("ATTUNE_ENGINEER_TOKEN")
    with pytest.raises(RehearsalError, match="engineer's token is needed"):
        read_options(arguments)


def test_an_unknown_taste_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse(["--taste", "louder"])
    assert "darker" in capsys.readouterr().err


def test_settings_of_the_training_are_numbers_by_name(tmp_path: Path) -> None:
    options = read_options(words(tmp_path, "--set", "n_epochs=3", "--set", "learning_rate=1e-4"))
    assert options.config == {"n_epochs": 3, "learning_rate": 1e-4}
    with pytest.raises(RehearsalError, match="key=number, got 'n_epochs'"):
        read_options(words(tmp_path, "--set", "n_epochs"))
