"""Which trades and quotes are rejected, flagged, or left alone, and what is said of them."""

from __future__ import annotations

import msgspec
import pytest

from engine.feed.quality import MODES, Quality, checked_mode, prepare, with_mode
from engine.model.errors import InputError, UsageError
from engine.model.kinds import ASK, BID, Flag, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME
from tests.helpers.rows import Row, rows_of_buffer
from tests.helpers.ticks import LAST, SOURCE, Judged, head, judged, put, quote, taken_apart, trade, trades
from tests.reference.quality import Fact, Said

GOOD, REJECTED = Flag(0), Flag.REJECTED_TICK
UNUSUAL, EXTREME = Flag.UNUSUAL, Flag.UNUSUAL | Flag.EXTREME
CALM = [10_000, 10_001] * 10  # 20 prices, the fewest that a distance is judged by; their lower median 10_000


def earned(result: Judged, row: int = -1) -> Flag:
    """What a row was given, LAST aside."""
    return result.flags[row] & ~LAST


@pytest.mark.parametrize(
    ("price", "size", "flags", "detail"),
    [
        (10_000, 1, GOOD, ""),
        (0, 1, REJECTED, "price 0 is not positive"),
        (-100, 1, REJECTED, "price -1 is not positive"),
        (10_000, 0, REJECTED, "price 100: the size 0 is not positive"),
        (10_000, -2500, REJECTED, "price 100: the size -2.5 is not positive"),
        (0, 0, REJECTED, "price 0 is not positive"),
        (10_500, 1, GOOD, ""),
        (
            10_501,
            1,
            REJECTED,
            "price 105.01 is 5.01 away from 100, the median of 20 prices; the limit is 5 (5 %)",
        ),
        (9_500, 1, GOOD, ""),
        (
            9_499,
            1,
            REJECTED,
            "price 94.99 is 5.01 away from 100, the median of 20 prices; the limit is 5 (5 %)",
        ),
    ],
)
def test_a_trade_is_judged(price: int, size: int, flags: Flag, detail: str) -> None:
    """Price and size are positive, and the price is within 5 % of the median of those before it."""
    result = judged([*trades(CALM), trade(price, size, number=99)])
    assert earned(result) == flags
    assert result.details == ([detail] if detail else [])


@pytest.mark.parametrize(
    ("bid", "ask", "flags", "detail"),
    [
        ((9_990, 1), (10_010, 1), GOOD, ""),
        ((10_010, 1), (10_010, 1), GOOD, ""),  # locked: real at some venues
        ((10_011, 1), (10_010, 1), REJECTED, "bid 100.11 is above ask 100.1"),
        ((0, 0), (10_010, 1), GOOD, ""),  # nobody bids
        ((9_990, 1), (0, 0), GOOD, ""),
        ((0, 0), (0, 0), GOOD, ""),  # nobody quotes at all
        ((0, 1), (10_010, 1), REJECTED, "bid 0 is not positive"),
        ((9_990, 0), (10_010, 1), REJECTED, "bid 99.9: the size 0 is not positive"),
        ((9_990, 1), (10_010, -1), REJECTED, "ask 100.1: the size -0.001 is not positive"),
        ((-1, 1), (10_010, 0), REJECTED, "bid -0.01 is not positive"),
        (
            (9_990, 1),
            (19_999_999, 1),
            REJECTED,
            "ask 199999.99 is 199899.89 away from 100.1, the median of 20",
        ),
        ((1, 1), (10_010, 1), REJECTED, "bid 0.01 is 99.89 away from 99.9, the median of 20"),
        ((1, 1), (0, 0), REJECTED, "bid 0.01 is 99.89 away from 99.9, the median of 20"),
    ],
)
def test_a_quote_is_judged(bid: tuple[int, int], ask: tuple[int, int], flags: Flag, detail: str) -> None:
    """Each side by its own window; a side of price and size 0 is nobody's; both rows share the verdict."""
    facts = [row for _ in range(20) for row in quote(9_990, 10_010)]
    result = judged([*facts, *quote(bid[0], ask[0], bid[1], ask[1], number=99)])
    assert [earned(result, -2), earned(result)] == [flags, flags]
    assert len(result.details) == bool(detail)
    assert all(said.startswith(detail) for said in result.details)


def test_a_side_that_comes_alone_is_judged_alone() -> None:
    """A venue that sends the side that has changed: one row, and the other side's window is as it was."""
    both = [row for _ in range(20) for row in quote(9_990, 10_010)]
    bids = [Fact(Kind.QUOTE, side=BID, price=9_990 + n, size=1, id=n) for n in range(5)]
    asks = [Fact(Kind.QUOTE, side=ASK, price=price, size=1, id=50) for price in (10_010, 20_000)]
    result = judged([*both, *bids, *asks])
    assert [said.row for said in result.said] == [len(result.flags) - 1]
    assert result.details[0].startswith("ask 200 is 99.9 away")


def test_the_limit_grows_with_the_deviation() -> None:
    """Where prices are 2 % from their median in the middle, 39 % is no reason, and 41 % is one."""
    wide = [10_000 + 200 * (n % 5 - 2) for n in range(50)]  # the median deviation is 200
    assert earned(judged([*trades(wide), trade(13_999)])) & REJECTED == GOOD
    assert earned(judged([*trades(wide), trade(14_000)])) & REJECTED == GOOD
    (detail,) = judged([*trades(wide), trade(14_001)]).details
    assert detail.startswith("price 140.01 is 40.01 away from 100, the median of 50 prices; ")
    assert detail.endswith("the limit is 40 (20 x the median absolute deviation 2)")


def test_the_first_prices_have_nothing_to_be_judged_by() -> None:
    """Nineteen are too few for a distance: any price enters. With twenty, the same is rejected."""
    assert judged([*trades(CALM[:19]), trade(50_000)]).said == []
    assert judged([*trades(CALM[:20]), trade(50_000)]).said == [Said(20, "far")]


@pytest.mark.parametrize(
    ("before", "price", "flags"),
    [
        (29, 10_500, GOOD),  # one too few
        (30, 10_124, GOOD),  # prices 9 950 and 10 050: mean 10 000, deviation 50
        (30, 10_125, UNUSUAL),
        (30, 10_199, UNUSUAL),
        (30, 10_200, EXTREME),
        (30, 9_876, GOOD),
        (30, 9_875, UNUSUAL),
        (30, 9_800, EXTREME),
    ],
)
def test_scores_are_flags(before: int, price: int, flags: Flag) -> None:
    """2.5 and 4 standard deviations from the mean, from 30 prices on; an extreme tick is unusual, too."""
    calm = [9_950, 10_050] * 15
    result = judged([*trades(calm[-before:]), trade(price)])
    assert earned(result) == flags
    assert result.said == []


def test_prices_that_are_all_the_same_have_no_score() -> None:
    """The first move after a standstill is a move, not an outlier; nor is standing still one."""
    result = judged(trades([10_000] * 200 + [10_001, 10_000]))
    assert earned(result, 200) == GOOD
    assert earned(result, 201) == GOOD


def test_a_window_holds_200_prices() -> None:
    """The 201st pushes the first one out: what was calm once does not count any more."""
    old, new = [10_000] * 200, [10_400] * 200
    # 10 900 is within 5 % of 10 400, which is the median as soon as more than half of the window is.
    assert judged(trades([*old, *new[:100], 10_900])).said == [Said(300, "far")]
    assert judged(trades([*old, *new[:101], 10_900])).said == []


def test_strict_rejects_what_warn_only_flags() -> None:
    """In the mode strict an extreme tick is kept from the strategy; off looks at nothing."""
    facts = [*trades([9_950, 10_050] * 15), trade(10_200), trade(0)]
    warned, refused = judged(facts, "warn"), judged(facts, "strict")
    assert [earned(warned, 30), earned(refused, 30)] == [EXTREME, EXTREME | REJECTED]
    assert refused.details[0] == (
        "price 102 has the z-score 4.00 beside 99.5, the median of 30 prices; the limit is 4 (strict)"
    )
    for silent in ("off", ""):
        nothing = judged(facts, silent)
        assert nothing.said == []
        assert {flags & ~LAST for flags in nothing.flags} == {GOOD}


def test_twenty_rejected_prices_that_agree_are_the_market() -> None:
    """The window is made of them, a row says so, and the next price is judged by it; they stay rejected."""
    calm, moved = trades(CALM), trades([12_000 + n for n in range(20)], start=101)
    result = judged([*calm, *moved, trade(12_005, number=121), trade(10_000, number=122)])
    assert [earned(result, row) for row in range(20, 42)] == [REJECTED] * 20 + [GOOD, REJECTED]
    assert result.said == [
        *(Said(row, "far") for row in range(20, 40)),
        Said(39, "", 101, 120),
        Said(41, "far"),
    ]
    assert result.details[-2] == (
        "20 rejected prices in a row agree on 120.09, their median: it counts from here on"
    )


def test_a_run_ends_with_a_price_that_counts() -> None:
    """Nineteen, one of the old market, nineteen: nothing agrees twenty times in a row."""
    moved = [12_000] * 19
    result = judged(trades([*CALM, *moved, 10_000, *moved]))
    assert {said.rule for said in result.said} == {"far"}
    assert judged(trades([*CALM, *moved, 12_000])).said[-1] == Said(39, "", 21, 40)


def test_a_run_has_to_agree() -> None:
    """Rejected prices all over the place move nothing; the last twenty of them that agree do."""
    wild = [5_000, 20_000] * 30
    assert {said.rule for said in judged(trades([*CALM, *wild])).said} == {"far"}
    result = judged(trades([*CALM, *wild, *[20_000] * 18]))
    assert {said.rule for said in result.said} == {"far"}
    result = judged(trades([*CALM, *wild, *[20_000] * 19]))
    assert result.said[-1] == Said(98, "", 80, 99)


def test_times_stand_for_ids_where_there_are_none() -> None:
    """First and last of a run are the venue's times, or ours, when its ticks have no number."""
    facts = [fact._replace(id=0, ts=fact.id) for fact in trades([*CALM, *[12_000] * 20])]
    assert judged(facts).said[-1] == Said(39, "", 21, 40)


UNJUDGED = (
    Flag.DUPLICATE,
    Flag.OUT_OF_ORDER,
    Flag.BACKFILLED,
    Flag.IMPORTED,
    Flag.REVISED,
    Flag.REJECTED_TICK,
    Flag.SNAPSHOT,
)


@pytest.mark.parametrize("flag", UNJUDGED, ids=lambda flag: str(flag.name))
def test_what_is_doubted_already_is_not_judged(flag: Flag) -> None:
    """It is left as it is, and enters no window."""
    doubted = [trade(50_000, flags=flag | LAST) for _ in range(100)]
    result = judged([*trades(CALM), *doubted, trade(10_000)])
    assert result.said == []
    assert set(result.flags[20:120]) == {flag | LAST}
    assert earned(result) == GOOD


def test_levels_of_a_book_bars_and_marks_are_never_judged() -> None:
    """Far levels are real; what they say stays as it is, whatever they say."""
    kinds = (Kind.BOOK, Kind.BAR, Kind.MARK, Kind.FUNDING)
    others = [Fact(kind, side=1, price=price) for kind in kinds for price in (0, 1, 10**15)]
    result = judged([*trades(CALM), *others, trade(10_000)])
    assert result.said == []
    assert {flags & ~LAST for flags in result.flags} == {GOOD}


def test_streams_and_instruments_have_windows_of_their_own() -> None:
    """Aggregated trades say again what trades said; quotes and other instruments say something else."""
    level = {1: 10_000, 2: 50_000}
    facts = [trade(level[n], instrument=n) for _ in range(20) for n in (1, 2)]
    facts += [trade(30_000, flags=Flag.AGGREGATE | LAST) for _ in range(20)]
    facts += [row for _ in range(20) for row in quote(20_000, 21_500)]
    assert judged(facts, definitions=2).said == []
    for wrong in (trade(50_000), trade(10_000, instrument=2), trade(10_000, flags=Flag.AGGREGATE | LAST)):
        assert [said.rule for said in judged([*facts, wrong], definitions=2).said] == ["far"]


def test_the_row_behind_a_rejected_tick_ends_its_message() -> None:
    """It has the tick's time, source, instrument and number, no wire, and LAST, which the tick gives away."""
    rows = judged([*trades(CALM), trade(0, number=77)]).rows
    tick, status = rows[-2:]
    assert tick.flags == REJECTED
    assert tick.wire == b"frame 77"
    assert status == Row(
        77,
        Kind.STATUS,
        LAST,
        source=1,
        instrument=1,
        side=0,
        price=0,
        size=0,
        id=77,
        data={"event": "rejected_tick", "channel": "trade", "detail": "price 0 is not positive"},
        wire=None,
        ts_venue=NULL_TIME,
    )


def test_ticks_in_the_middle_of_a_message_keep_their_places() -> None:
    """A frame of six trades, three of them bad: each is followed by its reason; LAST stays at the end."""
    prices = [10_000, 0, 10_001, -1, 0, 10_000]
    facts = [trade(price, number=n, flags=Flag(0)) for n, price in enumerate(prices)]
    facts[-1] = facts[-1]._replace(flags=LAST)
    rows = judged([*trades(CALM), *facts, trade(10_000, number=9)]).rows[20:]
    shown = [(row.kind.name, row.id, row.event, bool(row.flags & LAST)) for row in rows]
    assert shown == [
        ("TRADE", 0, "", False),
        ("TRADE", 1, "", False),
        ("STATUS", 1, "rejected_tick", False),
        ("TRADE", 2, "", False),
        ("TRADE", 3, "", False),
        ("STATUS", 3, "rejected_tick", False),
        ("TRADE", 4, "", False),
        ("STATUS", 4, "rejected_tick", False),
        ("TRADE", 5, "", True),
        ("TRADE", 9, "", True),
    ]
    assert [row.wire for row in rows if row.kind is Kind.TRADE] == [
        b"frame %d" % n for n in (0, 1, 2, 3, 4, 5, 9)
    ]


@pytest.mark.parametrize("channel", ["trade", "aggtrade", "quote"])
def test_the_row_names_the_channel(channel: str) -> None:
    """As users name it."""
    bad: dict[str, list[Fact]] = {
        "trade": [trade(0)],
        "aggtrade": [trade(0, flags=Flag.AGGREGATE | LAST)],
        "quote": quote(3, 2),
    }
    assert judged(bad[channel]).rows[-1].data["channel"] == channel


def test_a_wider_definition_multiplies_what_is_remembered() -> None:
    """Two decimals more in the middle: the same verdicts, and prices with their decimals in words."""
    prices = [10_000 + n % 7 for n in range(40)]
    later = [prices[0], 10_030, 10_004, 12_000, *[13_000] * 5]
    plain = judged([*trades(prices), *trades(later, 101), *trades([13_000] * 15, 201)])
    facts = [
        *trades(prices),
        Fact(Kind.INSTRUMENT, decimals=4),
        *trades([100 * p for p in later], 101),
        Fact(Kind.INSTRUMENT, decimals=5),
        *trades([1_000 * 13_000] * 15, 201),
    ]
    widened = judged(facts)
    definitions = (40, 50)
    assert [f for n, f in enumerate(widened.flags) if n not in definitions] == plain.flags
    assert widened.details == plain.details
    assert plain.said[-1].rule == ""


def test_prices_that_would_not_fit_are_forgotten() -> None:
    """What no 64 bits hold at the new decimals is no window any more; it begins again."""
    huge = 9 * 10**17
    facts = [*trades([huge] * 30), Fact(Kind.INSTRUMENT, decimals=4), *trades([100] * 20), trade(huge)]
    assert judged(facts).said == [Said(51, "far")]


def test_fewer_decimals_begin_again() -> None:
    """Half a mantissa is none: the window is empty, whatever stood in it."""
    facts = [*trades([10_000] * 30), Fact(Kind.INSTRUMENT, decimals=0), *trades([100] * 20), trade(200)]
    assert judged(facts).said == [Said(51, "far")]


def test_an_instrument_that_is_not_defined_is_not_judged() -> None:
    """Its decimals are not known, so nothing could be said of its prices."""
    result = judged([trade(0, instrument=number) for number in (2, 63, 64, 5_000, 2**32 - 1)])
    assert result.said == []


def test_many_instruments_find_room() -> None:
    """Definitions by the thousand, with numbers in any order, each with its own window."""
    facts = [trade(1_000 * n, instrument=n) for _ in range(20) for n in range(1_500, 1_300, -1)]
    facts += [trade(1_000 * n, instrument=n + 100) for n in range(1_301, 1_401)]
    result = judged(facts, definitions=1_500)
    assert [said.row for said in result.said] == list(range(4_000, 4_100))


def test_a_source_without_a_mode_is_left_alone() -> None:
    """Two sources of one log: the rows of the other are neither judged nor remembered."""
    rows, quality = RowBuffer(), Quality()
    head(rows, "warn", [1])
    head(rows, "", [2])
    put(rows, [Fact(Kind.INSTRUMENT, decimals=2)])
    put(rows, [trade(0)._replace(source=2), *(trade(90_000)._replace(source=2) for _ in range(50)), trade(0)])
    put(rows, [*trades(CALM), trade(10_000)])
    quality.take(rows)
    assert taken_apart(rows_of_buffer(rows)[3:]).said == [Said(51, "price")]


def test_a_mode_may_come_late() -> None:
    """Definitions before the first source that asks are known when it does."""
    rows, quality = RowBuffer(), Quality()
    put(rows, [Fact(Kind.INSTRUMENT, decimals=2), trade(0)])
    quality.take(rows)
    start = rows.count
    head(rows, "warn")
    put(rows, [trade(0)])
    quality.take(rows, start)
    assert [said.row for said in taken_apart(rows_of_buffer(rows)).said] == [3]


def test_a_file_begins_with_nothing_remembered() -> None:
    """The sources are defined again, as at the head of a segment: windows and modes are forgotten."""
    rows, quality = RowBuffer(), Quality()
    for mode, bad in (("warn", []), ("warn", [trade(50_000)]), ("", [trade(0)]), ("strict", [trade(0)])):
        rows.clear()
        head(rows, mode)
        put(rows, [Fact(Kind.INSTRUMENT, decimals=2), *bad])
        put(rows, trades(CALM))
        quality.take(rows)
        assert len(taken_apart(rows_of_buffer(rows)[2:]).said) == (mode == "strict")


def test_rows_before_the_start_are_left_alone() -> None:
    """What a call has had, the next one does not see: neither judged again nor moved."""
    rows, quality = RowBuffer(), Quality()
    head(rows, "warn")
    put(rows, [Fact(Kind.INSTRUMENT, decimals=2), trade(0)])
    quality.take(rows)
    before = rows_of_buffer(rows)
    quality.take(rows, rows.count)
    assert rows_of_buffer(rows) == before
    put(rows, [trade(0, number=5)])
    quality.take(rows, len(before))
    assert rows_of_buffer(rows)[: len(before)] == before
    assert [row.event for row in rows_of_buffer(rows)[len(before) :]] == ["", "rejected_tick"]


def test_more_findings_than_one_list_holds() -> None:
    """A thousand bad ticks in one batch are a thousand rows behind them."""
    result = judged([trade(0, number=n) for n in range(1_000)])
    assert [said.row for said in result.said] == list(range(1_000))


def test_a_mode_that_nobody_knows_is_named() -> None:
    """In an option the user's word, in a log the source."""
    with pytest.raises(UsageError, match='"loud" is not known\nhint: write one of off, warn, strict'):
        checked_mode("loud")
    assert [checked_mode(mode) for mode in MODES] == list(MODES)
    rows = RowBuffer()
    strange = msgspec.structs.replace(SOURCE, detail={"quality": "loud"})
    rows.append(0, Kind.SOURCE, source=1, flags=int(LAST), data=encode_canonical(strange))
    with pytest.raises(InputError, match='source 1, venue: its quality is "loud"'):
        Quality().take(rows)


def test_kernels_may_be_loaded_ahead() -> None:
    """Before the first row, by whoever has the time; it changes nothing that comes after."""
    prepare()
    assert judged([trade(0)]).said == [Said(0, "price")]


def test_decimals_that_cannot_be_are_no_error_here() -> None:
    """Whoever reads the definition refuses it; here the window begins again."""
    facts = [*trades([10_000] * 30), Fact(Kind.INSTRUMENT, decimals=500), *trades([100] * 20), trade(200)]
    assert judged(facts).said == [Said(51, "far")]


def test_a_source_keeps_its_detail() -> None:
    """The mode is one entry among others."""
    source = SourceData(name="x", detail={"shard": "2"})
    assert with_mode(source, "strict").detail == {"shard": "2", "quality": "strict"}


def test_the_largest_prices_are_judged() -> None:
    """Mantissas at the end of 64 bits: distances and limits do not overflow."""
    top = 2**63 - 1
    calm: list[int] = [top - n % 3 for n in range(40)]
    result = judged([*trades(calm), trade(top), trade(top // 2), trade(1)])
    assert [said.rule for said in result.said] == ["far", "far"]
