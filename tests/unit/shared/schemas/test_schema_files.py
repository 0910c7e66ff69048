"""`chorus schema export` writes what differs, removes what is gone, and leaves alone what is not its own."""

import json
from pathlib import Path

import pytest

from shared.cli import run
from shared.config.exit_codes import Exit
from shared.schemas.files import Written, write


def test_only_files_that_differ_are_written(tmp_path: Path) -> None:
    write(tmp_path, {"here/events/ThingDone.json": b"1", "here/events/ThingUndone.json": b"2"})
    changed = write(tmp_path, {"here/events/ThingDone.json": b"1", "here/events/ThingUndone.json": b"3"})
    assert changed == Written(["here/events/ThingUndone.json"], [])
    assert (tmp_path / "here/events/ThingUndone.json").read_bytes() == b"3"


def test_the_schema_of_a_message_that_is_gone_is_removed_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.json").write_text("{}")
    write(tmp_path, {"here/commands/DoThing.json": b"1"})
    assert write(tmp_path, {}) == Written([], ["here/commands/DoThing.json"])
    assert (tmp_path / "notes/mine.json").exists()


def test_the_command_says_what_it_wrote_and_then_that_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["schema", "export", "--dir", str(tmp_path), "--json"]) == Exit.OK
    written = json.loads(capsys.readouterr().out)
    assert {"asyncapi.json", "every-context/events/CommandRejected.json"} <= {*written["written"]}
    assert run(["schema", "export", "--dir", str(tmp_path)]) == Exit.OK
    assert "nothing to do" in capsys.readouterr().out


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(["schema", "export", "--dir", str(tmp_path / "file")]) == Exit.MISCONFIGURED
    assert "give another --dir" in capsys.readouterr().err
