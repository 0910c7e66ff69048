"""Every context of the shop that publishes, as it declares itself."""

from shared import catalog
from shared.config.settings import Settings
from shared.context import Context


def contexts() -> tuple[Context, ...]:
    """The contexts by name; services, which publish nothing, are not among them."""
    members = (catalog.load(name, Settings()) for name in catalog.names())
    return tuple(member for member in members if isinstance(member, Context))
