"""`engine serve`: a local venue, from a recording or invented; or a local Messages API, or local news."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.common import json_option
from engine.model.errors import UsageError

_BINANCE, _ALPACA, _NEWS, _MESSAGES = "binance", "alpaca", "news", "messages"
_MARKETS = (_BINANCE, _ALPACA)
_WHOSE = {  # options that only some have; all others are everybody's
    **dict.fromkeys(("log", "synthetic", "symbols", "rate", "exit_at_end", "past", "fault_seed"), _MARKETS),
    **dict.fromkeys(("speed", "keep_times"), (*_MARKETS, _NEWS)),
    **dict.fromkeys(("headlines", "headline_every"), (_NEWS, _ALPACA)),
    **dict.fromkeys(("plan", "check_keys"), (_ALPACA,)),
    "repeat": (_NEWS,),
}
_SHOWN = {"log": "LOG", "headlines": "--from"}
_NOT_SERVED = {
    _BINANCE: ("it serves no headlines and no accounts", "add --as news for headlines, --as alpaca for both"),
    _ALPACA: ("its headlines come once", "add --as news for headlines that repeat"),
    _MESSAGES: ("it serves no market", "it takes --host, --port, --fault, --seed and --json"),
    _NEWS: (
        "it serves no market",
        "it takes --from, --speed, --headline-every, --repeat, --keep-times, and what messages take",
    ),
}


@click.command()
@click.argument("log", required=False, type=click.Path(path_type=Path))
@click.option(
    "--as", "venue", type=click.Choice([_BINANCE, _ALPACA, _MESSAGES, _NEWS]), default=_BINANCE,
    show_default=True, help="Whose protocol to speak.",
)  # fmt: skip
@click.option("--synthetic", is_flag=True, help="Serve an invented market instead of a recording.")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the synthetic market, or of faults.")
@click.option(
    "--symbols", default=None,
    help="Of the synthetic market.  [default: BTCUSDT,ETHUSDT; alpaca: AAPL,MSFT,SPY,BTC/USD,ETH/USD]",
)  # fmt: skip
@click.option(
    "--rate", type=float, default=1.0, show_default=True,
    help="Activity of the synthetic market; 1 is about 50 messages a second and symbol.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=None,
    help="0 takes a free one.  [default: 9443, messages: 9444, news: 9445, alpaca: 9446]",
)  # fmt: skip
@click.option(
    "--speed", default="1", show_default=True, help="Times the recorded pace, or max: as clients read."
)
@click.option("--keep-times", is_flag=True, help="Leave the recorded stamps as they are.")
@click.option(
    "--fault", "faults", multiple=True, metavar="FAULT",
    help="Misbehave: NAME[:AMOUNT][:WHEN], any number, also between commas. Markets: disconnect:30s or "
    "disconnect:N (frames), gap[:N], duplicate, reorder, stall[:10s], garbage, slow[:BYTES], 429[:1s], "
    "shutdown[:30s], silence:N, html; WHEN is 0.01, every100, every30s or first3. See docs/serving.md.",
)  # fmt: skip
@click.option(
    "--fault-seed", type=click.IntRange(0), default=0, show_default=True,
    help="The same seed and the same traffic meet the same faults of a market.",
)  # fmt: skip
@click.option(
    "--past", default=None, metavar="DURATION",
    help="So much of the market is history when it opens, for REST.  [default: 0s, an invented alpaca's: 2m]",
)  # fmt: skip
@click.option(
    "--plan", type=click.Choice(["unlimited", "free"]), default="unlimited", show_default=True,
    help="Alpaca: what every account may: free has one connection, 30 symbols and no SIP.",
)  # fmt: skip
@click.option(
    "--check-keys", is_flag=True,
    help="Alpaca: let in only who has APCA_API_KEY_ID and APCA_API_SECRET_KEY of this environment.",
)  # fmt: skip
@click.option(
    "--from", "headlines", type=click.Path(path_type=Path), metavar="LOG|CSV",
    help="News, alpaca: whose headlines to serve  [default: the invented ones that come with the engine].",
)  # fmt: skip
@click.option(
    "--headline-every",
    default=None,
    metavar="DURATION",
    help="News, alpaca: one each so often, not in their own pace.",
)
@click.option("--repeat", is_flag=True, help="News: begin again, under new addresses, when all are out.")
@click.option("--exit-at-end", is_flag=True, help="End when the recording has been sent.")
@json_option
@click.pass_context
def serve(  # noqa: PLR0913  one argument per option
    context: click.Context,
    log: Path | None,
    *,
    venue: str,
    synthetic: bool,
    seed: int,
    symbols: str | None,
    rate: float,
    host: str,
    port: int | None,
    speed: str,
    keep_times: bool,
    faults: tuple[str, ...],
    fault_seed: int,
    past: str | None,
    plan: str,
    check_keys: bool,
    headlines: Path | None,
    headline_every: str | None,
    repeat: bool,
    exit_at_end: bool,
    as_json: bool,
) -> None:
    """Be a venue on this machine: streams and REST, for any client that takes another address.

    LOG is a recording; --synthetic invents a market instead. Time runs from the first subscription on.
    With --as alpaca it has stocks, coins and headlines, behind any key and secret.
    With --as messages it is a Messages API instead, which answers by a fixed word list: no market, no key.
    With --as news it is an endpoint that shows headlines, one after the other, to whoever polls.
    """
    _refuse_options_of_others(context, venue)
    if venue == _NEWS:
        from engine.cli.serve_news import NewsOptions, serve_news

        options = NewsOptions(
            host, port, headlines, speed, headline_every, keep_times, repeat, tuple(faults), seed
        )
        serve_news(options, as_json=as_json)
        return
    if venue == _MESSAGES:
        from engine.cli.serve_messages import serve_messages

        serve_messages(host=host, port=port, faults=faults, seed=seed, as_json=as_json)
        return
    from engine.cli.serve_market import MarketOptions, serve_market

    market = MarketOptions(
        venue=venue,
        log=log,
        synthetic=synthetic,
        seed=seed,
        symbols=symbols,
        rate=rate,
        host=host,
        port=port,
        speed=speed,
        keep_times=keep_times,
        faults=faults,
        fault_seed=fault_seed,
        past=past,
        plan=plan,
        check_keys=check_keys,
        headlines=headlines,
        headline_every=headline_every,
        exit_at_end=exit_at_end,
    )
    serve_market(market, as_json=as_json)


def _refuse_options_of_others(context: click.Context, venue: str) -> None:
    """Raises UsageError where an option was given that would silently do nothing."""
    for name, whose in _WHOSE.items():
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and venue not in whose:
            shown = _SHOWN.get(name) or "--" + name.replace("_", "-")
            words, hint = _NOT_SERVED[venue]
            raise UsageError(f"engine serve --as {venue} was given {shown}: {words}", hint=hint)
