"""What is told to whoever supervises a process."""

from pathlib import Path

from shared.engine.notify import Notifier


def test_who_has_said_that_it_stops_is_not_alive_any_more(tmp_path: Path) -> None:
    file = tmp_path / "ordering.alive"
    notifier = Notifier(None, file)
    notifier.ready()
    assert file.exists()
    notifier.stopping()
    notifier.alive()
    assert not file.exists()
