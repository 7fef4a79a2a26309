"""Both forms of a strategy have the same states, and either goes on where the other stopped."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from engine.config import Account, RunConfig
from engine.loop.snapshots.taking import Interval
from engine.model.kinds import InstrumentData
from tests.compiled.test_forms import CONFIGS
from tests.compiled.traders import Everything
from tests.helpers.calendars import actions, together
from tests.helpers.logs import Message
from tests.helpers.snapshots import play
from tests.reference.markets import ALL, BARRED, BOOKED, QUOTED, TRADED, RandomMarket
from tests.reference.order_markets import ORDERED, RandomOrderMarket
from tests.simulation.test_agreement import AGES
from tests.simulation.test_snapshots import assert_same_run, assert_same_states

DOLLARS = (BOOKED, QUOTED, TRADED, BARRED)
MARGIN = RunConfig(account=Account("margin", "20", borrow_rate=900_000_000), slippage_drawn=True)


def case(name: str) -> tuple[Sequence[Message], RunConfig, Sequence[InstrumentData]]:
    """A log, a configuration, instruments."""
    if name == "by order":
        return RandomOrderMarket(3, (ORDERED,)).messages(250), CONFIGS["slow answers"], (ORDERED,)
    if name == "margin, splits":
        messages = RandomMarket(4, DOLLARS).messages(200)
        acting = together(messages[:-1], actions(messages, DOLLARS, 4))
        last = Message(max(messages[-1].ts, acting[-1].ts + 1), messages[-1].rows)
        return [*acting, last], MARGIN, DOLLARS
    ages = AGES if name == "venue clock" else ()
    return RandomMarket(5, ALL, ages=ages).messages(200), CONFIGS[name], ALL


@pytest.mark.parametrize(
    "name", ["slow answers", "fees of what is received", "venue clock", "by order", "margin, splits"]
)
def test_either_form_goes_on_where_the_other_stopped(name: str) -> None:
    """The same states at the same rows, and from each of them the same rest."""
    messages, config, instruments = case(name)
    config = msgspec.structs.replace(config, seed=3)
    every = Interval(rows=41)
    slow = play(messages, Everything(), config, instruments, every, interpreted=True)
    quick = play(messages, Everything(), config, instruments, every, batch_rows=13)
    assert quick.runner.memory.get("strategy") != 0, "it ran compiled"
    assert_same_run(slow, quick, name)
    assert_same_states(slow, quick, name)
    assert len(slow.journal) > 20
    for row in list(slow.at)[1::5]:
        for whole, interpreted in ((slow, False), (quick, True), (quick, False)):
            what = f"{name}, from row {row}, {'interpreted' if interpreted else 'compiled'}"
            rest = play(
                messages,
                Everything(),
                config,
                instruments,
                every,
                begin=whole.at[row],
                before=whole,
                interpreted=interpreted,
                batch_rows=1 + row % 50,
            )
            assert_same_run(slow, rest, what)
            assert_same_states(slow, rest, what, since=row)
