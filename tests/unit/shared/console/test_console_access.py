"""The console lets nobody in without a token, carries out no form of another site, and escapes everything it shows."""

import re
from collections.abc import Iterator

import pytest

from shared.cli.commands.console import login
from shared.config.secrets import Secret
from shared.config.settings import Settings, SettingsError
from shared.console.access import ROLES, Access, Person, people_in
from shared.console.guard import FORM_BYTES_AT_MOST
from shared.console.pages import ACTIONS, PAGES
from shared.simulation.testing import Simulation, simulation
from tests.browsing import Browser, Visit

GUARDED = [
    "/live",
    "/go?key=o-1",
    "/no-such-page",
    *(page.path.replace("{sequence:int}", "1").replace("{version:int}", "1") for page in PAGES),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulation]:
    with simulation(at_work=()) as running:
        yield running


@pytest.fixture
def visit(running: Simulation) -> Visit:
    return Visit(running)


@pytest.mark.parametrize("path", GUARDED)
def test_no_page_without_a_token(visit: Visit, path: str) -> None:
    visit.browser.cookies.clear()
    for page in (visit.get(path), visit.part(path)):
        assert page.status == 401
        assert 'name="token"' in page.text


def test_part_of_a_page_without_a_token_leads_to_the_login(visit: Visit) -> None:
    visit.browser.cookies.clear()
    assert visit.part("/").headers["hx-redirect"] == "/login"


@pytest.mark.parametrize("cookie", ["", "x", "0" * 64, "ü"])
def test_forged_cookie_is_no_login(visit: Visit, cookie: str) -> None:
    visit.browser.cookies = {visit.console.cookie: cookie.encode().decode("latin-1")}
    assert visit.get("/").status == 401


def test_token_logs_in_and_the_cookie_is_hidden_from_scripts_and_from_other_sites(visit: Visit) -> None:
    token = visit.console.access.of_role("operator").token
    page = visit.running.run(Browser(visit.browser._app).log_in(token))
    assert (page.status, page.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(page.headers["set-cookie"].split("; "))
    assert token not in page.headers["set-cookie"]


def test_wrong_token_is_refused(visit: Visit) -> None:
    visit.browser.cookies.clear()
    page = visit.post("/login", token="wrong")
    assert (page.status, page.headers.get("set-cookie")) == (401, None)


def test_token_of_another_console_is_refused() -> None:
    access, other = Access(), Access()
    assert [other.by_token(access.of_role(role).token) for role in ROLES] == [None, None]
    assert [access.by_token(access.of_role(role).token) for role in ROLES] == [*map(access.of_role, ROLES)]


def test_people_of_the_settings_log_in_and_a_role_without_any_has_a_token_of_its_own() -> None:
    settings = Settings(console_operators=Secret("ann=token-of-ann-0123,ben=token-of-ben-0123"))
    access = Access(people_in(settings))
    ann, ben = people_in(settings)
    assert (ann.name, ann.role, access.by_token("token-of-ben-0123")) == ("ann", "operator", ben)
    assert access.by_cookie(access.cookie(ann)) == ann
    assert not access.is_own_form(ben, access.form_token(ann))
    assert [(person.name, person.role) for person in access.people] == [
        ("ann", "operator"), ("ben", "operator"), ("", "reader")
    ]  # fmt: skip
    assert "token" not in repr(access.people)


def test_link_has_the_token_of_the_start_and_never_that_of_a_person() -> None:
    access = Access([Person("ann", "operator", "token-of-ann-0123"), Person("ben", "operator", "token-of-ben-0123")])
    assert login("https://h:1", access, "operator") == "https://h:1/login, with the token of ann or ben"
    assert login("https://h:1", access, "reader") == f"https://h:1/login#token={access.of_role('reader').token}"


@pytest.mark.parametrize(
    ("readers", "operators", "told"),
    [
        ("", "ann", "CHORUS_CONSOLE_OPERATORS: the token of ann is shorter than 16 characters"),
        ("ann=short", "", "CHORUS_CONSOLE_READERS: the token of ann is shorter than 16 characters"),
        ("", "ann=token-of-ann-0123,=token-of-ben-0123", "CHORUS_CONSOLE_OPERATORS: part 2 names nobody"),
        ("ann=token-of-ann-0123", "ben=token-of-ann-0123", "give two people the same token"),
    ],
)
def test_people_who_cannot_log_in_are_named_without_their_token(readers: str, operators: str, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)) as raised:
        people_in(Settings(console_readers=Secret(readers), console_operators=Secret(operators)))
    assert "token-of" not in str(raised.value)


def test_logout_ends_the_login(visit: Visit) -> None:
    assert visit.post("/logout").status == 303
    assert visit.get("/").status == 401


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.path)
class TestActions:
    """Every form of the console."""

    def test_form_without_its_token_is_refused(self, visit: Visit, action: object) -> None:
        path = action.path.replace("{number}", "1")  # type: ignore[attr-defined]
        assert visit.post(path, form_token="").status == 403
        reader = visit.console.access.form_token(visit.console.access.of_role("reader"))
        assert visit.post(path, form_token=reader).status == 403

    def test_form_of_another_site_is_refused(self, visit: Visit, action: object) -> None:
        path = action.path.replace("{number}", "1")  # type: ignore[attr-defined]
        access = visit.console.access
        fields = {"form_token": access.form_token(access.of_role("operator"))}
        for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            assert visit.running.run(visit.browser.post(path, fields, headers=headers)).status == 403

    def test_reader_cannot_act(self, visit: Visit, action: object) -> None:
        visit.log_in("reader")
        page = visit.post(action.path.replace("{number}", "1"))  # type: ignore[attr-defined]
        assert page.status == 403
        assert "only an operator" in page.text

    def test_link_cannot_act(self, visit: Visit, action: object) -> None:
        assert visit.get(action.path.replace("{number}", "1")).status in (404, 405)  # type: ignore[attr-defined]


def test_form_of_any_size_is_not_read(visit: Visit) -> None:
    assert visit.post("/login", token="x" * FORM_BYTES_AT_MOST).status == 413


@pytest.mark.parametrize("path", ["/", "/login", "/static/console.js", "/no-such-page"])
def test_every_answer_forbids_scripts_of_others_and_frames(visit: Visit, path: str) -> None:
    page = visit.get(path)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert (policy["frame-ancestors"], page.headers["x-content-type-options"]) == ("'none'", "nosniff")
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/static/console.py", "/static/..%2fapp.py", "/static/%2e%2e"])
def test_only_the_files_of_pages_are_served(visit: Visit, path: str) -> None:
    assert visit.get(path).status == 404


def test_nothing_is_loaded_from_elsewhere(visit: Visit) -> None:
    for path in ("/", "/login", "/static/console.css", "/static/console.js", "/sagas"):
        text = visit.get(path).text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
