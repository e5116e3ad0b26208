"""The reckoning as Markdown: what went in, what comes out, and what is short first."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.scale.reckoning import MEASURED_BODY, Need, Reckoned, most, reckon
from benchmarks.scale.wanted import GIGA, MEGA, ONE_CORE, Wanted
from benchmarks.stores.costs import Costs, Cpu
from benchmarks.stores.engine import NAMES
from benchmarks.stores.results import StoreRun

NOTHING = "No store has been measured yet: there are no figures to reckon with.\n"


def page(runs: Mapping[str, StoreRun], wanted: Wanted, batches: Sequence[int]) -> str:
    """Everything, for the stores that were measured, in the order given."""
    if not runs:
        return NOTHING
    parts = [measured(runs), _assumed(wanted)]
    for batch in batches:
        load = _with_batch(wanted, batch)
        found = {store: reckon(store, run.costs, load) for store, run in runs.items()}
        parts.append(_result(found, load))
    return "\n\n".join(parts) + "\n"


def _with_batch(wanted: Wanted, batch: int) -> Wanted:
    given = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return Wanted(**given | {"batch": batch})


def measured(runs: Mapping[str, StoreRun]) -> str:
    """What went in, and where it is from."""
    posts = sorted(set.intersection(*(set(run.costs.post) for run in runs.values())))
    rows: list[tuple[str, Callable[[Costs], str]]] = []
    for batch in posts:
        what = f"post of {batch}, CPU of node + store, µs"
        rows.append((what, lambda costs, n=batch: _pair(costs.post[n])))
    for batch in posts:
        what = f"written to disk for a message, {batch} in a post, bytes"
        rows.append((what, lambda costs, n=batch: _count(costs.written.get(n))))
    rows += [
        ("claim of 10, or delete of 10, µs", lambda costs: _pair(costs.work)),
        ("claim that finds nothing, µs", lambda costs: _pair(costs.empty_claim)),
        ("waiting client, µs each second", lambda costs: _pair(costs.waiter)),
        ("waiting client, bytes of a node", lambda costs: _count(costs.waiter_bytes)),
        ("hearing of another node's message, µs", lambda costs: _number(costs.heard)),
        ("message, bytes of disk", lambda costs: _count(costs.message_disk_bytes)),
        ("message, bytes of memory", lambda costs: _count(costs.message_memory_bytes)),
        ("queue with a message, bytes of disk", lambda costs: _count(costs.queue_disk_bytes)),
        ("queue with a message, bytes of memory", lambda costs: _count(costs.queue_memory_bytes)),
        (
            "one queue, posts a second by three nodes",
            lambda costs: _count(costs.one_queue_per_second),
        ),
    ]
    table = _table(
        ["Measured", *(_name(store) for store in runs)],
        [[what, *(show(run.costs) for run in runs.values())] for what, show in rows],
    )
    origins = "\n".join(f"- {_name(store)}: {_origin(run)}" for store, run in runs.items())
    return f"{table}\n\nMeasured with bodies of {MEASURED_BODY} bytes:\n\n{origins}"


def _origin(run: StoreRun) -> str:
    rough = ", a quick run, so rough" if run.quick else ""
    machine = run.machine
    return (
        f"{run.about[0]}; {run.began:%Y-%m-%d}, {machine.cores} cores of {machine.cpu}, "
        f"Python {machine.python}{rough}"
    )


def _assumed(wanted: Wanted) -> str:
    rows = [
        ["queues", f"{wanted.queues:,}"],
        [
            "messages a second, each posted, claimed by tens and deleted by tens",
            f"{wanted.messages_per_second:,}",
        ],
        ["devices, each waiting in a long poll on a connection of its own", f"{wanted.devices:,}"],
        ["a long poll comes again after, s", f"{wanted.renewed_every:g}"],
        ["messages that wait in a queue at any moment", f"{wanted.waiting_per_queue:,}"],
        ["bytes of a body", f"{wanted.body_bytes:,}"],
        ["connections of a node", f"{wanted.connections_per_node:,}"],
        ["share of anything that may be in use", f"{wanted.busy:.0%}"],
        [
            f"cores of a store's server ({', '.join(map(_name, sorted(ONE_CORE)))}: 1)",
            f"{wanted.store_cores}",
        ],
        ["memory of a store's server, GB", f"{wanted.store_memory / GIGA:,.0f}"],
        ["its disk, GB", f"{wanted.store_disk / GIGA:,.0f}"],
        ["its disk writes a second, MB", f"{wanted.disk_per_second / MEGA:,.0f}"],
    ]
    return _table(["Assumed", ""], [[what, value.replace(",", " ")] for what, value in rows])


def _result(found: Mapping[str, Reckoned], wanted: Wanted) -> str:
    shown: list[tuple[str, Callable[[Reckoned], str]]] = [
        ("CPU of all nodes, cores", lambda one: _number(one.node_cores)),
        ("CPU of all stores, cores", lambda one: _number(one.store_cores)),
        ("memory of all stores, GB", lambda one: _number(one.store_memory / GIGA)),
        ("disk of all stores, GB", lambda one: _number(one.store_disk / GIGA)),
        ("written to disks, MB a second", lambda one: _number(one.disk_per_second / MEGA)),
    ]
    rows = [[what, *(show(one) for one in found.values())] for what, show in shown]
    for kind, unit in (("node_needs", "nodes"), ("pool_needs", "pools")):
        columns: list[list[Need]] = [getattr(one, kind) for one in found.values()]
        rows += [
            [f"{unit} for {needs[0].name}", *(_count(need.pieces) for need in needs)]
            for needs in zip(*columns, strict=True)
        ]
        rows.append([f"**{unit}**", *(f"**{_count(most(needs))}**" for needs in columns)])
    heard = [f"{one.hearing.used:.0%}" for one in found.values()]
    rows.append(["of what a node may use, for hearing of what others take in", *heard])
    rows.append(["short first", *(one.first.name for one in found.values())])
    many = "one message a post" if wanted.batch == 1 else f"{wanted.batch} messages a post"
    return _table([f"With {many}", *(_name(store) for store in found)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(store: str) -> str:
    return NAMES[store]


def _pair(cpu: Cpu | None) -> str:
    if cpu is None:
        return "–"
    return f"{_number(cpu.node)} + {_number(cpu.store)}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")
