"""streams.yaml says who says and hears what, as the code of the contexts does."""

from shared import catalog
from shared.config.settings import Settings
from shared.streams.choreography import is_current
from tests.architecture.pages import ROOT


def test_the_choreography_in_streams_yaml_matches_the_code() -> None:
    assert is_current(ROOT / "streams.yaml", catalog.members(Settings())), "run: chorus streams write"
