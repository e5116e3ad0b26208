"""Subscriptions and topics for programs without an event loop; see ``subscriptions`` and
``topics`` for what each call does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from nuska.client.blocking_paging import Iterated
from nuska.client.blocking_pools import Runner
from nuska.client.dead_letters import DeadLetter, DeadLetters, Redriven
from nuska.client.records import Message, Metadata, NewMessage
from nuska.client.subscriptions import Attempt, Standing, Subscription, Subscriptions
from nuska.client.topics import Topic, TopicStats

T = TypeVar("T")


class BlockingSubscriptions:
    """See ``Subscriptions``."""

    def __init__(self, portal: Runner, subscriptions: Subscriptions, iterated: Iterated) -> None:
        self._portal = portal
        self._subscriptions = subscriptions
        self._iterated = iterated

    def create(
        self,
        subscriber: str,
        *,
        ttl: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        return self._portal.run(self._subscriptions.create(subscriber, ttl=ttl, options=options))

    def list(self, *, page: int | None = None, marker: str | None = None) -> Iterator[Subscription]:
        return self._iterated(self._subscriptions.list(page=page, marker=marker))

    def show(self, subscription_id: str) -> Subscription:
        return self._portal.run(self._subscriptions.show(subscription_id))

    def update(
        self,
        subscription_id: str,
        *,
        subscriber: str | None = None,
        ttl: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._portal.run(
            self._subscriptions.update(
                subscription_id, subscriber=subscriber, ttl=ttl, options=options
            )
        )

    def delete(self, subscription_id: str) -> None:
        self._portal.run(self._subscriptions.delete(subscription_id))

    def confirm(self, subscription_id: str, confirmed: bool = True) -> None:
        self._portal.run(self._subscriptions.confirm(subscription_id, confirmed))

    def enable(self, subscription_id: str) -> bool:
        return self._portal.run(self._subscriptions.enable(subscription_id))

    def attempts(
        self, subscription_id: str, *, since: int | None = None, page: int | None = None
    ) -> Iterator[Attempt]:
        return self._iterated(self._subscriptions.attempts(subscription_id, since=since, page=page))

    def stats(self, subscription_id: str, *, since: int | None = None) -> Standing:
        return self._portal.run(self._subscriptions.stats(subscription_id, since=since))

    def test(self, subscription_id: str) -> str:
        return self._portal.run(self._subscriptions.test(subscription_id))

    def replay(self, subscription_id: str, since: int) -> None:
        self._portal.run(self._subscriptions.replay(subscription_id, since))


class BlockingDeadLetters:
    """See ``DeadLetters``."""

    def __init__(self, portal: Runner, letters: DeadLetters, iterated: Iterated) -> None:
        self._portal = portal
        self._letters = letters
        self._iterated = iterated

    def list(self, *, reason: str | None = None, page: int | None = None) -> Iterator[DeadLetter]:
        return self._iterated(self._letters.list(reason=reason, page=page))

    def redrive(
        self,
        *,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
        dry_run: bool = False,
    ) -> Redriven:
        return self._portal.run(
            self._letters.redrive(
                ids=ids, reason=reason, limit=limit, marker=marker, dry_run=dry_run
            )
        )


class BlockingTopic:
    """See ``Topic``."""

    def __init__(self, portal: Runner, topic: Topic, iterated: Iterated) -> None:
        self._portal = portal
        self._topic = topic
        self._iterated = iterated
        self.name = topic.name

    @property
    def subscriptions(self) -> BlockingSubscriptions:
        return BlockingSubscriptions(self._portal, self._topic.subscriptions, self._iterated)

    @property
    def dead_letters(self) -> BlockingDeadLetters:
        return BlockingDeadLetters(self._portal, self._topic.dead_letters, self._iterated)

    def create(self, metadata: Mapping[str, Any] | None = None) -> bool:
        return self._portal.run(self._topic.create(metadata))

    def exists(self) -> bool:
        return self._portal.run(self._topic.exists())

    def metadata(self) -> Metadata:
        return self._portal.run(self._topic.metadata())

    def update(
        self, changes: Mapping[str, Any] | None = None, *, remove: Iterable[str] = ()
    ) -> Metadata:
        return self._portal.run(self._topic.update(changes, remove=remove))

    def delete(self) -> None:
        self._portal.run(self._topic.delete())

    def stats(self) -> TopicStats:
        return self._portal.run(self._topic.stats())

    def purge(self) -> None:
        self._portal.run(self._topic.purge())

    def publish(
        self, body: Any, *, ttl: int | None = None, attributes: dict[str, Any] | None = None
    ) -> str:
        return self._portal.run(self._topic.publish(body, ttl=ttl, attributes=attributes))

    def publish_many(self, messages: Iterable[NewMessage]) -> "list[str]":
        return self._portal.run(self._topic.publish_many(messages))

    def messages(
        self, *, attributes: bool = False, page: int | None = None, marker: str | None = None
    ) -> Iterator[Message]:
        return self._iterated(self._topic.messages(attributes=attributes, page=page, marker=marker))
