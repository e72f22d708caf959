"""Reading a training child's progress while it is being written."""

from pathlib import Path

from workers.progress import ProgressTail, drop_half_written_line


def test_only_whole_lines_are_read_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = ProgressTail(path)
    assert tail.read_new() == []
    path.write_text('{"step": 1, "loss": 0.7}\n{"step": 2, "lo')
    assert tail.read_new() == [{"step": 1, "loss": 0.7}]
    assert tail.read_new() == []
    with path.open("a") as file:
        file.write('ss": 0.6}\n')
    assert tail.read_new() == [{"step": 2, "loss": 0.6}]


def test_lines_of_one_step_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = ProgressTail(path)
    path.write_text('{"step": 3, "loss": 0.5}\n')
    tail.read_new()
    with path.open("a") as file:
        file.write('{"step": 3, "held_out_accuracy": 0.8}\n')
    assert tail.read_new() == [{"step": 3, "loss": 0.5, "held_out_accuracy": 0.8}]


def test_a_step_told_again_by_a_resumed_run_takes_the_later_values(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"step": 1, "loss": 0.9}\n{"step": 1, "loss": 0.8}\n')
    assert ProgressTail(path).read_new() == [{"step": 1, "loss": 0.8}]


def test_a_broken_line_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('nonsense\n[1]\n{"loss": 1}\n{"step": 4}\n')
    assert ProgressTail(path).read_new() == [{"step": 4}]


def test_a_line_cut_short_by_a_kill_is_dropped_before_the_next_attempt(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    drop_half_written_line(path)
    path.write_text('{"step": 1}\n{"st')
    drop_half_written_line(path)
    assert path.read_text() == '{"step": 1}\n'
    drop_half_written_line(path)
    assert path.read_text() == '{"step": 1}\n'
