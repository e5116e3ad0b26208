"""Which queues somebody on this node wants to hear of, and the classes they belong to.

A queue's name says its class. There are many more classes than a node has clients that wait,
so that a node hears of few queues that it does not wait for; and few enough to subscribe to.
A class that nobody wants any more is kept for a while: who has waited once waits again.
"""

from zlib import crc32

from nuska.domain.messages import QueueRef
from nuska.stores.redis.names import tag

CLASSES = 65_536
LINGERS = 60.0
"""Seconds for which a class is listened to that nobody wants any more."""
MOST = CLASSES // 4
"""Classes that are listened to one by one. Beyond that a node listens to all of them."""
FEW_AGAIN = MOST // 2


def class_of(name: str) -> int:
    """The class of the queue whose tag is ``name``; the same on every node."""
    return crc32(name.encode()) % CLASSES


class Interest:
    """Of one node; begins with everything."""

    def __init__(self) -> None:
        self._everything = 1
        self._queues: dict[str, tuple[QueueRef, int]] = {}
        """By tag, with how many want to hear of it."""
        self._classes: dict[int, set[str]] = {}
        self._left: dict[int, float] = {}
        """Classes that nobody wants since that moment; in its order."""
        self._new: set[int] = set()

    @property
    def is_of_everything(self) -> bool:
        return self._everything > 0

    @property
    def has_news(self) -> bool:
        """Somebody wants a class that nobody listened to."""
        return bool(self._new)

    def heed(self, queue: QueueRef | None) -> None:
        if queue is None:
            self._everything += 1
            return
        name = tag(queue)
        _, count = self._queues.get(name, (queue, 0))
        self._queues[name] = queue, count + 1
        if count:
            return
        number = class_of(name)
        if number not in self._classes and self._left.pop(number, None) is None:
            self._new.add(number)
        self._classes.setdefault(number, set()).add(name)

    def disregard(self, queue: QueueRef | None, now: float) -> None:
        if queue is None:
            self._everything -= 1
            return
        name = tag(queue)
        _, count = self._queues[name]
        if count > 1:
            self._queues[name] = queue, count - 1
            return
        del self._queues[name]
        number = class_of(name)
        self._classes[number].discard(name)
        if not self._classes[number]:
            del self._classes[number]
            self._left[number] = now

    def queue(self, name: str) -> QueueRef | None:
        """The queue with this tag, if somebody wants to hear of it."""
        found = self._queues.get(name)
        return None if found is None else found[0]

    def queues_of(self, number: int) -> list[QueueRef]:
        """What somebody wants to hear of in a class."""
        return [self._queues[name][0] for name in self._classes.get(number, ())]

    def is_too_much(self, *, listens_to_all: bool) -> bool:
        """Whether to listen to all classes, whatever is wanted."""
        count = len(self._classes) + len(self._left)
        return self.is_of_everything or count > (FEW_AGAIN if listens_to_all else MOST)

    def classes(self) -> set[int]:
        """All that is to be listened to; from now on ``news`` tells what comes."""
        self._new.clear()
        return self._classes.keys() | self._left.keys()

    def news(self) -> set[int]:
        """Classes to listen to since the last time."""
        new, self._new = self._new, set()
        return new

    def forget(self, now: float) -> list[int]:
        """Classes that nobody has wanted for a while, and which are not told again."""
        old = []
        for number, since in self._left.items():
            if since + LINGERS > now:
                break
            old.append(number)
        for number in old:
            del self._left[number]
            self._new.discard(number)
        return old
