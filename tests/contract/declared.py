"""Every context of the shop that publishes, as it declares itself."""

from shared import catalog
from shared.config.settings import Settings
from shared.context import Context


def contexts() -> tuple[Context, ...]:
    """The contexts by name."""
    return declared(Settings(), *catalog.names())


def declared(settings: Settings, *names: str) -> tuple[Context, ...]:
    """The contexts of these names, in this order."""
    return tuple(catalog.load(name, settings) for name in names)
