"""What buying answers in batches would come to, before any is bought: how many, of what, for how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from engine.answers.models import Usage, cost_of, most_cost_of, usd
from engine.answers.requests import Request
from engine.model.kinds import encode_canonical

_BYTES_A_TOKEN = 4  # of English
_SHARE_WRITTEN = 4  # an answer is seldom longer than this part of what it may be


class Plan(msgspec.Struct, frozen=True):
    """Questions to buy answers to, at batch prices, in nano-USD."""

    questions: int
    models: dict[str, int]
    prompts: dict[str, int]  # "name version": how many
    most_nano_usd: int
    estimate_nano_usd: int

    def text(self) -> str:
        """For people."""
        lines = [f"{self.questions:,} {'answer is' if self.questions == 1 else 'answers are'} missing"]
        lines += [
            f"  {what:<9}{', '.join(f'{name} ({count:,})' for name, count in counts.items())}"
            for what, counts in (("models", self.models), ("prompts", self.prompts))
        ]
        lines.append(
            f"  {'cost':<9}at most {usd(self.most_nano_usd)}, about {usd(self.estimate_nano_usd)}: half of "
            "what single calls cost"
        )
        return "\n".join(lines)


def plan_of(requests: Sequence[Request]) -> Plan:
    """The plan for these questions. Raises UsageError for a model without a price."""
    return Plan(
        len(requests),
        _counted(request.model for request in requests),
        _counted(f"{request.prompt} {request.version}" for request in requests),
        most_of(requests),
        sum(_estimate(request) for request in requests),
    )


def most_of(requests: Iterable[Request]) -> int:
    """What they can cost at most, nano-USD. Raises UsageError for a model without a price."""
    return sum(most_cost_of(request, batch=True) for request in requests)


def _estimate(request: Request) -> int:
    """What one will probably cost."""
    sent = len(encode_canonical(request.body)) // _BYTES_A_TOKEN
    written = int(request.body["max_tokens"]) // _SHARE_WRITTEN
    return cost_of(request.model, Usage(input_tokens=sent, output_tokens=written), batch=True)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
