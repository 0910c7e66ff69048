"""`chorus replay` on a shop of real processes, while they work."""

from pathlib import Path

import pytest

from tests.contract.declared import contexts
from tests.e2e.ended import Ended
from tests.e2e.shop import Shop
from tests.forking import run_chorus
from tests.sagas import SHIPPED

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_context_decides_the_same_again(shop: Shop, ended: Ended, order: str) -> None:
    """Also whatever the tests before this one have led to: kills, parked messages, refused commands."""
    await shop.stock(f"s{order}", 10)
    await shop.place(order, f"s{order}")
    await ended.check(order, SHIPPED)
    for name in (one.name for one in contexts()):
        environ = {**shop.environ, "CHORUS_DATA_DIR": str(shop.data_dir(name))}
        ran = await run_chorus("replay", name, "--diff", environ=environ)
        assert (ran.code, ran.errors) == (0, ""), ran.output
        assert ran.output.startswith(f"{name}: nothing differs; decided again: ")


async def test_every_group_of_the_read_side_folds_the_same_again(shop: Shop, tmp_path: Path) -> None:
    """Beside its processes, whatever they were in the middle of."""
    environ = {**shop.environ, "CHORUS_DATA_DIR": str(shop.data_dir("insights"))}
    ran = await run_chorus("replay", "insights", "--into", str(tmp_path / "second"), "--diff", environ=environ)
    assert (ran.code, ran.output.count("nothing differs")) == (0, 2), ran.output + ran.errors
