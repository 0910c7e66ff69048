"""The users of the system in this directory: those that its contexts and its streams.yaml lead to."""

from collections.abc import Mapping

from shared import catalog
from shared.access.rights import User
from shared.access.roles import users
from shared.config.settings import Settings
from shared.streams.file import read_topology


def users_here(environ: Mapping[str, str]) -> tuple[User, ...]:
    """The users of the system that this environment names.

    Raises:
        SettingsError, CatalogError, StreamsFileError, AccessError: the system cannot be read.
    """
    return users_of(catalog.read_settings(environ))


def users_of(settings: Settings) -> tuple[User, ...]:
    """The users of the system that these settings name; raises CatalogError, StreamsFileError or AccessError."""
    return users(read_topology(settings.streams_file), catalog.members(settings))
