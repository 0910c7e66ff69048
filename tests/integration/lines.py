"""The lines that processes and their supervisor print, for tests that wait for one."""

from collections.abc import Callable

import anyio

from tests.waiting import WITHIN_S


class Lines:
    """Every line as `name: line`. `when` maps words to a callback for the first line that has them."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.when: dict[str, Callable[[], None]] = {}
        self._news = anyio.Event()

    def tell(self, name: str, line: str) -> None:
        self.said.append(f"{name}: {line}")
        for words in [words for words in self.when if words in line]:
            self.when.pop(words)()
        self._news.set()
        self._news = anyio.Event()

    async def until(self, words: str, times: int = 1) -> str:
        """Wait until this many lines have these words; the last of them."""
        with anyio.fail_after(WITHIN_S):
            while len(found := [line for line in self.said if words in line]) < times:
                await self._news.wait()
        return found[times - 1]
