"""Which blobs were published and known to be served, in memory shared by the processes.

An answer is fresh if its blob was published between two publications, both included: the last one
confirmed when the request was sent, and the last one published when the answer came. Any other
answer is stale.
"""

import mmap

_PUBLISHED, _CONFIRMED, _SWAPPING, _STOPPED, _FIRST = range(5)
_WORD = 8
MAX_SWAPS = 1 << 20


class Timeline:
    """Written by the swapping process, read by the clients. Publications count from 0.

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
        """Whether the clients must stop."""
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
        """Tell the clients to stop."""
        self._words[_STOPPED] = 1

    def blob(self, number: int) -> int:
        """Return the blob of a publication."""
        return self._words[_FIRST + number]

    def was_current(self, blob: int, since: int) -> bool:
        """Whether ``blob`` may have been served at or after the confirmation of ``since``."""
        words = self._words
        return any(words[_FIRST + n] == blob for n in range(since, words[_PUBLISHED]))
