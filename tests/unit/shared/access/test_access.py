"""The users of a system follow from its code, and their keys stay with their owners."""

import json
import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from shared.access.directory import (
    KEYS_FILE,
    RIGHTS_FILE,
    USERS_FILE,
    DirectoryError,
    apply,
    plan,
    public_keys,
    seed_file,
)
from shared.access.export import write_jwts
from shared.access.keys import SeedError, new_seed, public_key, read_public_key
from shared.access.login import login
from shared.access.of_system import users_of
from shared.access.rights import Rights, User
from shared.access.roles import ROLES, AccessError, users, who_may
from shared.access.server import rights_file, users_file
from shared.cli.errors import report
from shared.config.connection import ConnectionOptions
from shared.config.exit_codes import Exit
from shared.config.settings import Settings
from shared.context import Context
from shared.derived.topology import ConsumerBounds, Topology
from tests.integration.till import scanner, till

TOPOLOGY = Topology(
    partitions=2,
    streams={},
    consumers=ConsumerBounds(
        priority_timeout=timedelta(seconds=1), max_waiting=1, ack_wait=timedelta(seconds=1), max_ack_pending=1
    ),
)
ROTATIONS = 10
TILLS = {"till": till(), "scanner": scanner()}


def test_context_of_one_s_own_has_its_user_without_a_line() -> None:
    found = {user.name: user.rights for user in users(TOPOLOGY, TILLS)}
    assert list(found) == ["scanner", "till", *ROLES]
    assert found["till"].may_publish("evt.till.Rung.t-1")
    assert found["till"].may_publish("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.till-1")
    assert not found["till"].may_publish("$JS.API.CONSUMER.MSG.NEXT.COMMANDS.till-2")
    assert not found["till"].may_publish("evt.scanner.Scanned.t-1")
    assert found["producer"].may_publish("cmd.till.Ring.t-1")
    assert found["producer"].may_publish("api.till.Ring")
    assert not found["producer"].may_publish("api.till.about")


@pytest.mark.parametrize("name", ROLES)
def test_context_with_the_name_of_a_role_is_refused(name: str) -> None:
    with pytest.raises(AccessError, match=f"the context {name} has the name of a role .* rename the context"):
        users(TOPOLOGY, {name: Context(name=name, deciders=())})


def test_exception_wins_over_a_right() -> None:
    rights = Rights(publish=("a.>",), never=("a.b.>",), subscribe=("s.*",))
    assert [rights.may_publish(subject) for subject in ("a.c", "a.b.c", "a", "b.c")] == [True, False, False, False]
    assert [rights.may_subscribe(subject) for subject in ("s.x", "s.x.y", "s.*", "s.>")] == [True, False, True, False]


def test_a_denial_is_answered_with_the_users_who_may() -> None:
    those = users_of(Settings())
    assert who_may(those, "publish", "svc.bank.refund") == ["payments"]
    assert who_may(those, "publish", "$JS.API.STREAM.DELETE.EVENTS") == ["operator"]
    assert who_may(those, "subscribe", "api.ordering.about") == ["ordering"]
    assert who_may(those, "publish", "api.insights.Order") == ["operator", "frontend", "tester"]
    assert who_may(those, "publish", "api.insights.any.Order") == ["operator", "tester"]
    assert who_may(those, "publish", "hello") == []


class TestDirectory:
    """Seeds for their owners, and public keys for the server."""

    def test_first_apply_makes_a_private_seed_for_each_user_and_the_second_has_nothing_to_do(
        self, tmp_path: Path
    ) -> None:
        directory, those = tmp_path / "access", users(TOPOLOGY, TILLS)
        changes = apply(directory, those)
        assert [(one.action, one.name) for one in changes] == [
            *(("create", user.name) for user in those),
            ("write", "rights.conf"),
            ("write", "users.conf"),
        ]
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for user in those:
            file = seed_file(directory, user.name)
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert public_keys(directory)[user.name] == (read_public_key(file),)
        assert (plan(directory, those), apply(directory, those)) == ((), ())

    def test_server_gets_public_keys_and_no_seed(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        seeds = [seed_file(tmp_path, user.name).read_text().strip() for user in those]
        for name in ("rights.conf", "users.conf", "keys.json"):
            assert not [seed for seed in seeds if seed in (tmp_path / name).read_text()]
        assert (tmp_path / "users.conf").read_text().count("nkey:") == len(those)

    def test_rotation_puts_a_new_key_beside_the_old_one_and_retiring_ends_the_old_one(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        (old,) = public_keys(tmp_path)["till"]
        assert [one.action for one in apply(tmp_path, those, rotate=["till"])] == ["rotate", "write"]
        new = read_public_key(seed_file(tmp_path, "till"))
        assert public_keys(tmp_path)["till"] == (new, old)
        assert (tmp_path / "users.conf").read_text().count("$RIGHTS_till }") == 2
        assert [one.action for one in apply(tmp_path, those, retire=["till"])] == ["retire", "write"]
        assert public_keys(tmp_path)["till"] == (new,)
        assert apply(tmp_path, those, retire=["till"]) == ()

    def test_two_processes_that_change_a_key_at_once_change_it_one_after_the_other(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path\n"
            "from shared.access.directory import apply; from shared.access.rights import Rights, User\n"
            "those = (User(name='till', purpose='', rights=Rights()),)\n"
            "print(flush=True); sys.stdin.readline()\n"
            f"for _ in range({ROTATIONS}): apply(Path(sys.argv[1]), those, rotate=['till'])\n"
        )
        apply(tmp_path, (User(name="till", purpose="", rights=Rights()),))
        gate, start = os.pipe()
        both = [
            subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=gate, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        os.close(gate)
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline() == b"\n"
        os.close(start)
        assert [one.communicate()[0] or one.returncode for one in both] == [0, 0]
        keys = public_keys(tmp_path)["till"]
        assert len(set(keys)) == 1 + 2 * ROTATIONS
        assert keys[0] == read_public_key(seed_file(tmp_path, "till"))

    def test_user_of_a_context_that_is_gone_is_removed(self, tmp_path: Path) -> None:
        apply(tmp_path, users(TOPOLOGY, TILLS))
        left = users(TOPOLOGY, {"till": till()})
        assert [(one.action, one.name) for one in apply(tmp_path, left)] == [
            ("remove", "scanner"),
            ("write", "rights.conf"),
            ("write", "users.conf"),
        ]
        assert "scanner" not in (tmp_path / "users.conf").read_text()

    def test_list_that_was_lost_is_made_again_of_the_seeds(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        before = public_keys(tmp_path)
        (tmp_path / "keys.json").unlink()
        apply(tmp_path, those)
        assert public_keys(tmp_path) == before

    @pytest.mark.parametrize("file", ["scanner.nk", "producer.nk", KEYS_FILE, RIGHTS_FILE, USERS_FILE])
    def test_apply_that_is_interrupted_is_finished_by_the_next(self, tmp_path: Path, file: str) -> None:
        those = users(TOPOLOGY, TILLS)
        obstacle = tmp_path / f".{file}.{os.getpid()}"  # In the place of the file that is not finished yet.
        obstacle.mkdir()
        with pytest.raises(DirectoryError, match=f"{file}.* cannot be used: "):
            apply(tmp_path, those)
        obstacle.rmdir()
        apply(tmp_path, those)
        for user in those:
            assert public_keys(tmp_path)[user.name] == (read_public_key(seed_file(tmp_path, user.name)),)

    def test_seeds_may_leave_for_the_machines_of_their_users(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        seed_file(tmp_path, "till").unlink()
        assert plan(tmp_path, those) == ()

    def test_file_that_holds_no_seed_is_named_and_not_quoted(self, tmp_path: Path) -> None:
        file = seed_file(tmp_path, "till")
        file.write_text("hunter2")
        with pytest.raises(SeedError) as raised:
            apply(tmp_path, users(TOPOLOGY, TILLS))
        assert str(raised.value) == f"{file}: it holds no seed of an nkey"

    def test_key_whose_seed_is_here_outlives_a_rotation_that_was_interrupted(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        seed = seed_file(tmp_path, "till").read_text()
        apply(tmp_path, those, rotate=["till"])
        seed_file(tmp_path, "till").write_text(seed)  # The list is written first.
        apply(tmp_path, those, retire=["till"])
        assert public_keys(tmp_path)["till"] == (public_key(seed.strip()),)

    def test_seed_that_others_may_read_is_reported_and_protected(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        seed = seed_file(tmp_path, "till")
        seed.chmod(0o644)
        assert [(one.action, one.name) for one in apply(tmp_path, those)] == [("protect", "till")]
        assert stat.S_IMODE(seed.stat().st_mode) == 0o600
        assert plan(tmp_path, those) == ()

    def test_newest_key_stays_where_its_seed_has_left(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        apply(tmp_path, those, rotate=["till"])
        new = read_public_key(seed_file(tmp_path, "till"))
        seed_file(tmp_path, "till").unlink()
        apply(tmp_path, those, retire=["till"])
        assert public_keys(tmp_path)["till"] == (new,)

    def test_file_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "users.conf").mkdir()
        with pytest.raises(DirectoryError, match=r"users\.conf cannot be used: Is a directory; choose") as raised:
            apply(tmp_path, users(TOPOLOGY, TILLS))
        assert report(raised.value) is Exit.MISCONFIGURED
        with pytest.raises(DirectoryError, match="cannot be used: File name too long"):
            login(ConnectionOptions(), "till", tmp_path / ("x" * 300))

    def test_no_creds_are_made_of_a_file_that_holds_no_seed(self, tmp_path: Path) -> None:
        those = users(TOPOLOGY, TILLS)
        apply(tmp_path, those)
        file = seed_file(tmp_path, "till")
        file.write_text("hunter2")
        with pytest.raises(SeedError) as raised:
            write_jwts(tmp_path, those)
        assert str(raised.value) == f"{file}: it holds no seed of an nkey"
        assert not [*tmp_path.glob("*.creds")]

    @pytest.mark.parametrize("text", ["[", "[1]", '{"till": 1}', '{"till": "UA"}', '{"till": ["UA"]}', b"\xff"])
    def test_list_that_cannot_be_read_is_named(self, tmp_path: Path, text: str | bytes) -> None:
        (tmp_path / "keys.json").write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(DirectoryError, match=r"keys\.json cannot be read"):
            public_keys(tmp_path)


def test_seeds_are_random_and_have_a_public_key() -> None:
    one, other = new_seed(), new_seed()
    assert one != other
    assert (one[:2], public_key(one)[:1], len(public_key(one))) == ("SU", "U", 56)


def test_login_takes_the_seed_of_the_user_unless_the_options_name_one(tmp_path: Path) -> None:
    apply(tmp_path, users(TOPOLOGY, TILLS))
    found = login(ConnectionOptions(), "till", tmp_path)
    assert (found.nkey, found.inbox_prefix, found.acts_as) == (tmp_path / "till.nk", "_INBOX_till", "till")
    by_file = login(ConnectionOptions(nkey=tmp_path / "scanner.nk"), "till", tmp_path / "elsewhere")
    assert (by_file.nkey, by_file.acts_as) == (tmp_path / "scanner.nk", "scanner")
    named = ConnectionOptions(user="ann")
    assert (login(named, "till", tmp_path), named.acts_as) == (named, "ann")
    assert login(ConnectionOptions(), "nobody", tmp_path) == ConnectionOptions()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN NATS USER JWT-----\n",
        "-----BEGIN NATS USER JWT-----\na.b.c\n",
        "-----BEGIN NATS USER JWT-----\na.W10.c\n",
        "-----BEGIN NATS USER JWT-----\na.eyJuYW1lIjoidGlsbCJ9.c\n",
    ],
    ids=["empty", "no token", "no base64", "a list", "of another system"],
)
def test_creds_file_of_another_system_keeps_its_inboxes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.creds"
    file.write_text(text)
    options = ConnectionOptions(creds=file)
    assert login(options, "till", tmp_path) == options


def test_files_for_the_server_name_each_user_once() -> None:
    those = users(TOPOLOGY, TILLS)
    text = rights_file(those)
    assert [line for line in text.splitlines() if line.startswith("RIGHTS_")] == [
        f"RIGHTS_{user.name}: {{" for user in those
    ]
    assert "nkey" not in text
    assert "nkey" not in users_file(those, {})
    assert json.dumps("$JS.API.STREAM.INFO.EVENTS") in text
