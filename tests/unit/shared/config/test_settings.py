from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from contexts.notifications.settings import NotificationsSettings
from contexts.ordering.settings import OrderingSettings
from contexts.shipping.settings import ShippingSettings
from shared import catalog
from shared.catalog import read_settings
from shared.config.environment import describe, fields_of, load_settings, make_settings
from shared.config.settings import Settings, SettingsError


@dataclass(frozen=True)
class Mistake:
    variable: str
    text: str
    problem: str


MISTAKES = (
    Mistake("CHORUS_BATCH_AT_MOST", "1001", "'1001' cannot be used: Expected `int` <= 1000"),
    Mistake("CHORUS_LOG_LEVEL", "warn", "'warn' cannot be used: use debug, info, warning, error"),
    Mistake("CHORUS_METRICS_PORT", "http", "'http' cannot be used: Expected `int | null`, got `str`"),
    Mistake("CHORUS_ORDER_DEADLINE", "15", "'15' is not a duration"),
    Mistake("CHORUS_ORDER_DEADLNE", "15m", "there is no such setting (did you mean 'CHORUS_ORDER_DEADLINE'?)"),
    Mistake("CHORUS_order_deadline", "15m", "there is no such setting (did you mean 'CHORUS_ORDER_DEADLINE'?)"),
    Mistake("CHORUS_WHATEVER", "1", "there is no such setting"),
)


def test_every_setting_has_a_default_that_works() -> None:
    settings = read_settings({"PATH": "/bin", "HOME": "/"})
    assert settings == Settings()
    assert settings.streams_file.name == "streams.yaml"
    assert settings.streams_file.is_file()


def test_values_are_read_in_human_units() -> None:
    settings = read_settings(
        {
            "CHORUS_DATA_DIR": "/var/lib/chorus",
            "CHORUS_ORDER_DEADLINE": "1h30m",
            "CHORUS_DISPATCH_DELAY": "500ms",
            "CHORUS_BATCH_AT_MOST": "10",
            "CHORUS_METRICS_PORT": "9090",
            "CHORUS_LOG_FORMAT": "json",
        }
    )
    assert settings.data_dir == Path("/var/lib/chorus")
    assert settings.narrowed(OrderingSettings).order_deadline == timedelta(minutes=90)
    assert settings.narrowed(ShippingSettings).dispatch_delay == timedelta(milliseconds=500)
    assert (settings.batch_at_most, settings.metrics_port, settings.log_format) == (10, 9090, "json")


def test_mails_go_beside_the_data_unless_told_otherwise() -> None:
    def mail_dir(**environ: str) -> Path | None:
        return read_settings(environ).narrowed(NotificationsSettings).mail_dir

    assert mail_dir(CHORUS_DATA_DIR="/d") == Path("/d/mail")
    assert mail_dir(CHORUS_DATA_DIR="/d", CHORUS_MAIL_DIR="/m") == Path("/m")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read_settings({"CHORUS_METRICS_PORT": "", "CHORUS_ORDER_DEADLINE": ""}) == Settings()


def test_the_variables_of_the_test_run_are_no_mistake() -> None:
    assert read_settings({"CHORUS_REQUIRE_NATS_CLI": "1", "CHORUS_SEED": "7"}) == Settings()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.variable)
def test_a_mistake_is_named_with_its_remedy(mistake: Mistake) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({mistake.variable: mistake.text})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{mistake.variable}: {mistake.problem}")


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({mistake.variable: mistake.text for mistake in MISTAKES})
    assert len(caught.value.problems) == len(MISTAKES)
    assert str(caught.value).count("\n") == len(MISTAKES) - 1


def test_every_setting_is_described_with_its_value_default_and_source() -> None:
    environ = {"CHORUS_ORDER_DEADLINE": "3s"}
    described = {setting.name: setting for setting in catalog.described_settings(environ)}
    assert set(Settings.__struct_fields__) - set(described) == {"of_contexts"}
    assert {"order_deadline", "smtp_url", "bank_slow"} <= set(described)
    assert all(setting.description for setting in described.values())
    deadline = described["order_deadline"]
    assert (deadline.value, deadline.default, deadline.source) == ("3s", "15m", "CHORUS_ORDER_DEADLINE")
    assert described["drain_timeout"].source == "default"


def test_the_default_of_the_mail_directory_follows_the_data() -> None:
    environ = {"CHORUS_DATA_DIR": "/d"}
    (mail_dir,) = [one for one in catalog.described_settings(environ) if one.name == "mail_dir"]
    assert (mail_dir.value, mail_dir.default, mail_dir.source) == ("/d/mail", "/d/mail", "default")


def test_a_password_is_never_shown() -> None:
    environ = {"CHORUS_SMTP_URL": "smtps://shop:tops3cret@mail.example:465"}
    settings = read_settings(environ)
    assert settings.narrowed(NotificationsSettings).smtp_url == "smtps://shop:tops3cret@mail.example:465"
    assert "tops3cret" not in repr(settings)
    assert "tops3cret" not in repr(settings.narrowed(NotificationsSettings))
    assert "tops3cret" not in repr(catalog.described_settings(environ))
    assert "smtps://shop:***@mail.example:465" in repr(settings)


class Patient(Settings, frozen=True, kw_only=True):
    patience: Annotated[timedelta, Meta(description="how long it waits")] = timedelta(seconds=3)


class AlsoPatient(Settings, frozen=True, kw_only=True):
    patience: Annotated[timedelta, Meta(description="how long this one waits")] = timedelta(seconds=3)


class Impatient(Settings, frozen=True, kw_only=True):
    patience: Annotated[timedelta, Meta(description="how long it waits")] = timedelta(0)


class Reluctant(Settings, frozen=True, kw_only=True):
    patience: Annotated[int, Meta(description="how often it waits")] = 3


class Silent(Settings, frozen=True, kw_only=True):
    patience: int = 3


def test_a_setting_of_two_contexts_is_one_setting_when_they_mean_the_same() -> None:
    settings = load_settings({"CHORUS_PATIENCE": "1s"}, {"here": Patient, "there": AlsoPatient})
    assert settings.narrowed(Patient).patience == settings.narrowed(AlsoPatient).patience == timedelta(seconds=1)
    assert settings.narrowed(ShippingSettings) == ShippingSettings(of_contexts={"patience": timedelta(seconds=1)})


@pytest.mark.parametrize("other", [Impatient, Reluctant])
def test_a_setting_that_two_contexts_mean_differently_names_both(other: type[Settings]) -> None:
    with pytest.raises(SettingsError, match=r"^the setting patience of there has another type or default than .* here"):
        fields_of({"here": Patient, "there": other})


def test_a_setting_without_a_description_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^here: the setting patience needs a default and a description"):
        fields_of({"here": Silent})


def test_a_value_for_a_setting_that_nobody_declares_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"patienc: there is no such setting \(did you mean 'patience'\?\)"):
        make_settings({"patienc": 1}, {"here": Patient})


def test_a_default_that_follows_the_data_is_described_so() -> None:
    described = describe(Settings(data_dir=Path("/d")), {}, {"letters": NotificationsSettings})
    assert [setting.default for setting in described if setting.name == "mail_dir"] == ["/d/mail"]


def test_a_switch_is_written_as_true_or_false() -> None:
    assert not read_settings({"CHORUS_RECORD_INPUTS": "false"}).record_inputs
    with pytest.raises(SettingsError, match="CHORUS_RECORD_INPUTS: 'no' cannot be used: use true, false"):
        read_settings({"CHORUS_RECORD_INPUTS": "no"})
