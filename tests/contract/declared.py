"""Every context of the shop, as it declares itself."""

from importlib import import_module
from pathlib import Path

from shared.context import Context
from shared.settings import Settings

CONTEXTS = Path(__file__).parents[2] / "contexts"


def contexts() -> tuple[Context, ...]:
    """The contexts by name; services, which publish nothing, are not among them."""
    workers = [import_module(f"contexts.{path.parent.name}.worker") for path in sorted(CONTEXTS.glob("*/worker.py"))]
    return tuple(worker.context(Settings()) for worker in workers if hasattr(worker, "context"))
