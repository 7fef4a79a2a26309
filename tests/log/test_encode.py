"""The short way from rows to an Arrow batch gives what Arrow itself gives."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from engine.log.encode import BatchEncoder, encode_with_arrow
from engine.log.schema import COLUMNS, Chain, batch_of_buffer, crc_text
from engine.model.kinds import Flag
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME
from tests.helpers.logs import rows_of

INT64 = 2**63 - 1


def _random_rows(chance: random.Random, count: int) -> RowBuffer:
    """Rows with every column at random over its whole range, nulls and empty texts included."""
    rows = RowBuffer(4)
    venue_times = chance.choice(([NULL_TIME], [0, 5], [NULL_TIME, -7, INT64]))
    data = chance.choice(([None], [b"{}"], [None, b"", "“é”".encode()]))
    wire = chance.choice(([None], [b"\x00\xff"], [None, b"", b"{" + b"x" * 300 + b"}"]))
    for _ in range(count):
        rows.append_fast(
            chance.randrange(-INT64, INT64),
            chance.choice(venue_times),
            chance.randrange(2**16),
            chance.randrange(2**8),
            chance.randrange(2**8),
            chance.randrange(2**16) | Flag.LAST,
            chance.randrange(2**32),
            chance.choice((-1, 0, 1)),
            chance.randrange(-INT64, INT64),
            chance.choice((0, -INT64, INT64)),
            chance.randrange(2**64),
            chance.choice(data),
            chance.choice(wire),
        )
    return rows


@pytest.mark.parametrize("seed", range(91, 97))
def test_the_message_is_arrows_own_byte_for_byte(seed: int) -> None:
    """Random rows, also at the edges of bytes and words: both encoders give the same message."""
    chance = random.Random(seed)
    encoder = BatchEncoder()
    for count in (1, 2, 7, 8, 9, 63, 64, 65, chance.randrange(66, 3000)):
        rows = _random_rows(chance, count)
        first_seq = chance.randrange(2**63)
        chain = Chain(chance.randbytes(32).hex()).head()
        batch, message = encoder.layout(rows, first_seq)
        encoder.sign(message, batch, chain)
        assert message == encode_with_arrow(batch_of_buffer(rows, first_seq), chain), count


@pytest.mark.parametrize("seed", range(97, 100))
def test_the_batch_is_that_of_the_rows(seed: int) -> None:
    """The batch whose columns lie in the message equals the one that was copied column by column."""
    chance = random.Random(seed)
    rows = _random_rows(chance, 100)
    batch, message = BatchEncoder().layout(rows, 12)
    copied = batch_of_buffer(rows, 12)
    assert rows_of([batch]) == rows_of([copied])
    assert crc_text(batch) == crc_text(copied)
    assert batch.data is not None
    assert batch.wire is not None
    assert (batch.data.type, batch.wire.type) == (pa.string(), pa.large_binary())
    assert rows_of([batch.slice(10, 20)]) == rows_of([copied])[10:20]
    rows.clear()
    rows.append(1, 1, flags=1)
    assert rows_of([batch]) == rows_of([copied])
    assert bytes(message)


def test_a_batch_has_no_other_attributes() -> None:
    """Texts are made on demand, but a misspelt column is still an error."""
    batch, _message = BatchEncoder().layout(_random_rows(random.Random(1), 3), 0)
    with pytest.raises(AttributeError, match="prise"):
        _ = batch.prise  # type: ignore[attr-defined]
    assert all(getattr(batch, name) is not None for name in COLUMNS[1:])
