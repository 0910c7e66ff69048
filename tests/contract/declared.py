"""Every context of the shop that publishes, as it declares itself."""

from shared import catalog
from shared.config.settings import Settings
from shared.context import Context
from shared.readside.group import ReadSide


def contexts() -> tuple[Context, ...]:
    """The contexts by name."""
    return tuple(catalog.contexts(Settings()).values())


def read_sides() -> tuple[ReadSide, ...]:
    """The read sides by name."""
    return tuple(catalog.load_all(Settings()).read_sides.values())


def declared(settings: Settings, *names: str) -> tuple[Context, ...]:
    """The contexts of these names, in this order."""
    return tuple(catalog.load(name, settings) for name in names)
