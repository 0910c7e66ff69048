"""Where the connection options come from: flags, environment variables, a nats context, defaults."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.config.connection import DEFAULT_SERVER, ConnectionOptions, ConnectionOptionsError, find_connection


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config/nats/context").mkdir(parents=True)
    return tmp_path


def save_context(home: Path, name: str, *, selected: bool = False, **values: Any) -> Path:
    file = home / f".config/nats/context/{name}.json"
    file.write_text(json.dumps({"description": "", "nsc": "", "jetstream_domain": "", **values}))
    if selected:
        (home / ".config/nats/context.txt").write_text(f"{name}\n")
    return file


def test_default_is_the_local_server(home: Path) -> None:
    found = find_connection({"HOME": str(home)})
    assert found == ConnectionOptions()
    assert (found.servers, found.source) == ((DEFAULT_SERVER,), "default")
    assert found.client_arguments() == {"servers": [DEFAULT_SERVER], "tls_handshake_first": False}


def test_flag_wins_over_variable_and_variable_over_context(home: Path) -> None:
    file = save_context(home, "shop", selected=True, url="nats://context:1", user="from-context", password="c")
    environ = {"HOME": str(home)}
    by_context = find_connection(environ)
    assert (by_context.servers, by_context.source) == (("nats://context:1",), f"context shop ({file})")
    assert by_context.user == "from-context"

    environ["NATS_URL"] = "nats://variable:2"
    by_variable = find_connection(environ, {"server": None})
    assert (by_variable.servers, by_variable.source) == (("nats://variable:2",), "NATS_URL")
    assert by_variable.user == "from-context"

    by_flag = find_connection(environ, {"server": "flag:3", "user": "from-flag"})
    assert (by_flag.servers, by_flag.source) == (("nats://flag:3",), "--server")
    assert (by_flag.user, by_flag.password) == ("from-flag", "c")


def test_named_context_wins_over_the_selected_one(home: Path) -> None:
    save_context(home, "selected", selected=True, url="nats://selected:1")
    save_context(home, "variable", url="nats://variable:1")
    save_context(home, "flag", url="nats://flag:1")
    environ = {"HOME": str(home), "NATS_CONTEXT": "variable"}
    assert find_connection(environ).servers == ("nats://variable:1",)
    assert find_connection(environ, {"context": "flag"}).servers == ("nats://flag:1",)


def test_contexts_are_found_under_xdg_config_home(home: Path) -> None:
    save_context(home, "shop", selected=True, url="nats://there:1")
    assert find_connection({"HOME": "/", "XDG_CONFIG_HOME": str(home / ".config")}).servers == ("nats://there:1",)


def test_all_values_of_a_context_are_used(home: Path) -> None:
    for name in ("creds", "ca", "cert", "key"):
        (home / name).touch()
    save_context(
        home,
        "shop",
        selected=True,
        creds="~/creds",
        ca=str(home / "ca"),
        cert="~/cert",
        key="~/key",
        token="t0ken",
        inbox_prefix="_INBOX_shop",
        tls_first=True,
    )
    found = find_connection({"HOME": str(home)})
    assert (found.creds, found.ca, found.cert, found.key) == tuple(
        home / name for name in ("creds", "ca", "cert", "key")
    )
    assert (found.token, found.inbox_prefix, found.tls_first) == ("t0ken", "_INBOX_shop", True)


def test_servers_may_be_a_list_without_schemes_and_ports(home: Path) -> None:
    found = find_connection({"HOME": str(home), "NATS_URL": "a, nats://b:4223,tls://[::1]:5"})
    assert found.servers == ("nats://a:4222", "nats://b:4223", "tls://[::1]:5")


def test_user_wins_over_credentials_and_credentials_over_nkey(home: Path) -> None:
    for name in ("creds", "nkey"):
        (home / name).touch()
    environ = {"HOME": str(home), "NATS_CREDS": str(home / "creds"), "NATS_NKEY": str(home / "nkey")}
    both = find_connection(environ)
    assert (both.creds, both.nkey) == (home / "creds", None)
    assert find_connection({**environ, "NATS_USER": "me"}).creds is None


def test_login_is_removed_from_the_url(home: Path) -> None:
    environ = {"HOME": str(home), "NATS_USER": "somebody", "NATS_PASSWORD": "else"}
    login = find_connection(environ, {"server": "nats://me:s%40cret@host"})
    assert (login.servers, login.user, login.password) == (("nats://host:4222",), "me", "s@cret")
    token = find_connection({"HOME": str(home)}, {"server": "nats://t0ken@host"})
    assert (token.servers, token.user, token.token) == (("nats://host:4222",), None, "t0ken")
    assert token.client_arguments()["token"] == "t0ken"


def test_user_without_a_password_is_a_token(home: Path) -> None:
    (home / "nkey").touch()
    found = find_connection({"HOME": str(home), "NATS_USER": "t0ken", "NATS_NKEY": str(home / "nkey")})
    assert (found.user, found.token, found.nkey) == (None, "t0ken", None)


def test_no_secret_is_shown(home: Path) -> None:
    save_context(home, "shop", selected=True, password="s3cret", token="s3cret")
    for flags in ({}, {"server": "nats://me:s3cret@host"}, {"server": "nats://s3cret@host"}):
        assert "s3cret" not in repr(find_connection({"HOME": str(home)}, flags))
    for url in (
        "http://me:s3cret@host",
        "nats://me:s3cret@host:port",
        "nats://me:s3cret@host,nats://you:s3cret@host",
        "nats://me:s3cret/s3cret@host",
        "nats://me:s3cret#s3cret@s3cret@host",
        "me:s3cret?s3cret@host:1",
        "nats://me:s3cret[s3cret@host",
    ):
        with pytest.raises(ConnectionOptionsError) as refused:
            find_connection({"HOME": str(home), "NATS_URL": url})
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"NATS_URL": "http://host"}, "NATS_URL: 'http://host' is not a server URL; write nats://host:4222"),
        (
            {"NATS_URL": "nats://host:70000"},
            "NATS_URL: 'nats://host:70000' is not a server URL; use a port from 1 to 65535",
        ),
        ({"NATS_CONTEXT": "x" * 300}, "there is no nats context"),
        ({"NATS_URL": " , "}, "NATS_URL: it names no server"),
        ({"NATS_CREDS": "/nowhere.creds"}, "NATS_CREDS: /nowhere.creds cannot be read: No such file or directory"),
        ({"NATS_CERT": "/dev/null"}, "NATS_CERT: a certificate needs its key, and only the cert is given"),
        ({"NATS_CONTEXT": "shpo"}, "there is no nats context 'shpo' (did you mean 'shop'?)"),
        ({"NATS_CONTEXT": "../context/shop"}, "there is no nats context '../context/shop'"),
        ({"NATS_CONTEXT": "broken"}, "broken.json: Expecting value"),
        ({"NATS_CONTEXT": "odd"}, "odd.json: user must be text"),
        ({"NATS_CONTEXT": "domain"}, "domain.json: jetstream_domain is set, which Chorus does not support"),
    ],
)
def test_unusable_value_is_named_with_its_problem(home: Path, environ: dict[str, str], problem: str) -> None:
    save_context(home, "shop")
    save_context(home, "broken").write_text("no JSON")
    save_context(home, "odd", user=7)
    save_context(home, "domain", jetstream_domain="hub")
    with pytest.raises(ConnectionOptionsError) as refused:
        find_connection({"HOME": str(home), **environ})
    assert problem in str(refused.value)


SEED = f"SU{'A' * 56}"
JWT = "-----BEGIN NATS USER JWT-----\neyJ.eyJ.sig\n------END NATS USER JWT------\n"
SEED_BLOCK = f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"


def test_files_of_a_login_are_given_to_the_client(home: Path) -> None:
    (home / "creds").write_text(f"{JWT}\n{SEED_BLOCK}")
    (home / "nkey").write_text(f"{SEED}\n")
    for variable, name, argument in (("NATS_CREDS", "creds", "user_credentials"), ("NATS_NKEY", "nkey", "nkeys_seed")):
        found = find_connection({"HOME": str(home), variable: str(home / name)})
        assert found.client_arguments()[argument] == str(home / name)


@pytest.mark.parametrize("content", ["", "garbage\n", JWT, SEED_BLOCK, f"{JWT}{SEED_BLOCK}".replace("\n", "\r\n")])
@pytest.mark.parametrize("variable", ["NATS_CREDS", "NATS_NKEY"])
def test_a_file_without_a_login_is_named_when_it_is_used(home: Path, variable: str, content: str) -> None:
    (home / "login").write_text(content, newline="")
    found = find_connection({"HOME": str(home), variable: str(home / "login")})
    with pytest.raises(ConnectionOptionsError, match=f"{home / 'login'} is not an? (credentials|nkey) file"):
        found.client_arguments()


def test_invalid_tls_file_is_named_when_it_is_used(home: Path) -> None:
    found = find_connection({"HOME": str(home), "NATS_CA": "/dev/null"})
    with pytest.raises(ConnectionOptionsError, match="TLS files /dev/null"):
        found.client_arguments()
