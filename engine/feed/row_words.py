"""What the rows of a parser are made of, ready to be written: kinds, flags, parts, and books without levels.

Plain ints: an IntEnum member costs a look-up and a conversion in each row.
"""

from __future__ import annotations

from engine.model.kinds import BookData, Flag, Kind, Part, encode_canonical

TRADE, QUOTE, BOOK, BAR = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BOOK), int(Kind.BAR)
INSTRUMENT, CONTROL, STATUS = int(Kind.INSTRUMENT), int(Kind.CONTROL), int(Kind.STATUS)
OPEN, HIGH, LOW, CLOSE = int(Part.OPEN), int(Part.HIGH), int(Part.LOW), int(Part.CLOSE)
SNAPSHOT, CLEAR, BACKFILLED = int(Flag.SNAPSHOT), int(Flag.CLEAR), int(Flag.BACKFILLED)
FINAL, REVISED, LOSSY = int(Flag.FINAL), int(Flag.REVISED), int(Flag.LOSSY)
AGGREGATE = int(Flag.AGGREGATE)
MAYBE_BAD_BOOK = int(Flag.MAYBE_BAD_BOOK)
NO_LEVELS = encode_canonical(BookData(note="no levels"))  # an update that changes nothing
EMPTY_BOOK = encode_canonical(BookData(note="empty book"))  # a whole book with nothing in it
