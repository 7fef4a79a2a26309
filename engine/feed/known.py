"""A definition read anew, beside the one that the log has."""

from __future__ import annotations

import msgspec

from engine.model.kinds import InstrumentData


def with_known(definition: InstrumentData, known: InstrumentData | None) -> InstrumentData:
    """The definition with what `known` has of its own: channels, version, and wider decimals."""
    if known is None:
        return definition
    return msgspec.structs.replace(
        definition,
        price_decimals=max(definition.price_decimals, known.price_decimals),
        size_decimals=max(definition.size_decimals, known.size_decimals),
        channels=known.channels,
        version=known.version,
    )
