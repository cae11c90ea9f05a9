"""What was published and what is known to be served, in memory that the processes share.

An answer is stale if its blob is none of those published from the last one confirmed, as the
request was sent, up to the last one published, as its answer came.
"""

import mmap

_PUBLISHED, _CONFIRMED, _SWAPPING, _STOPPED, _FIRST = range(5)
_WORD = 8
MAX_SWAPS = 1 << 20


class Timeline:
    """Written by the one who swaps, read by the clients. A publication is numbered from 0.

    Each value is an aligned word, written and read whole, in the order of the program (x86-64).
    """

    def __init__(self, first: int) -> None:
        """Begin with blob number ``first`` published and confirmed."""
        self._words = memoryview(mmap.mmap(-1, (_FIRST + MAX_SWAPS) * _WORD)).cast("q")
        self._words[_FIRST] = first
        self._words[_PUBLISHED] = 1

    @property
    def published(self) -> int:
        """How many publications there were."""
        return self._words[_PUBLISHED]

    @property
    def confirmed(self) -> int:
        """The number of the last publication that is known to be served."""
        return self._words[_CONFIRMED]

    @property
    def current(self) -> int:
        """The blob that was published last."""
        return self._words[_FIRST + self.published - 1]

    @property
    def swapping(self) -> bool:
        """Whether the stretch with swaps has begun."""
        return bool(self._words[_SWAPPING])

    @property
    def stopped(self) -> bool:
        """Whether the clients are to come to an end."""
        return bool(self._words[_STOPPED])

    def publish(self, blob: int) -> int:
        """Note, before it is done, that ``blob`` is published; return the publication's number."""
        number = self.published
        self._words[_FIRST + number] = blob
        self._words[_PUBLISHED] = number + 1
        self._words[_SWAPPING] = 1
        return number

    def confirm(self, number: int) -> None:
        """Note that a publication is served by every worker."""
        self._words[_CONFIRMED] = number

    def stop(self) -> None:
        """Let the clients come to an end."""
        self._words[_STOPPED] = 1

    def blob(self, number: int) -> int:
        """Return the blob of a publication."""
        return self._words[_FIRST + number]

    def was_current(self, blob: int, since: int) -> bool:
        """Whether ``blob`` may have been served at or after the confirmation of ``since``."""
        words = self._words
        return any(words[_FIRST + n] == blob for n in range(since, words[_PUBLISHED]))
