"""streams.yaml lists the events that each context publishes and hears, as the code has them."""

from shared import catalog
from shared.config.settings import Settings
from shared.streams.choreography import is_current
from tests.architecture.pages import ROOT


def test_the_choreography_in_streams_yaml_matches_the_code() -> None:
    assert is_current(ROOT / "streams.yaml", catalog.members(Settings())), "run: chorus streams write"
