"""The tests' own context has every method that strategies are promised."""

from __future__ import annotations

from engine.strategy.api import Context, Strategy
from tests.strategy.fake_context import FakeContext, make_instrument


def test_the_fake_context_is_a_context() -> None:
    """Every public name of the Context protocol exists on the fake, so that the tests test the contract."""
    context: Context = FakeContext(Strategy(), [make_instrument()])  # mypy compares the signatures
    names = [name for name in vars(Context) if not name.startswith("_")]
    assert len(names) >= 20
    assert [name for name in names if not hasattr(context, name)] == []
