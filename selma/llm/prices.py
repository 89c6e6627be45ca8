"""What a model's tokens cost."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from selma.core.errors import ConfigError, MissingDependencyError

CHARACTERS_PER_TOKEN = 4  # of English, about


@dataclass(frozen=True)
class Price:
    """A model's price; `source` says where it is from."""

    model: str
    source: str
    per_million: tuple[float, float] | None  # USD for tokens read and written; None: the list's
    provider: str | None = None  # of the list

    def usd(self, prompt_tokens: int, reply_tokens: int) -> float:
        """What so many tokens cost, in USD."""
        if self.per_million is not None:
            read, written = self.per_million
            return (prompt_tokens * read + reply_tokens * written) / 1e6
        return float(_calculate(self.model, self.provider, prompt_tokens, reply_tokens))


def find_price(model: str, base_url: str | None, row: Mapping[Any, float] | None) -> Price | None:
    """Find a model's price: the row of params.yaml, else the package genai-prices.

    Args:
        model: the server's name for it.
        base_url: of the server; null: ``OPENAI_BASE_URL``, else OpenAI's own.
        row: USD for a million tokens, `input` and `output`, or null.

    Returns:
        The price, or None if the list does not know the model.
    """
    if row is not None:
        return Price(model, "llm.price", (row["input"], row["output"]))
    address = base_url or os.environ.get("OPENAI_BASE_URL")
    if address and urlsplit(address).hostname != "api.openai.com":
        return None  # a server of one's own may call its model as it likes
    try:
        _calculate(model, "openai", 1, 1)
    except LookupError:
        return None
    return Price(model, f"genai-prices {version('genai-prices')}", None, "openai")


def tokens_of(characters: float) -> int:
    """Estimate how many tokens a text has."""
    return round(characters / CHARACTERS_PER_TOKEN)


def needed_price(model: str, base_url: str | None, row: Mapping[Any, float] | None) -> Price:
    """Find a model's price where money is limited; ConfigError if nobody knows it."""
    found = find_price(model, base_url, row)
    if found is None:
        raise ConfigError(
            f"llm.price: a budget is set and the price of {model!r} at {base_url or 'OpenAI'} is "
            "not known; expected {input: …, output: …} in USD for a million tokens"
        )
    return found


def _calculate(model: str, provider: str | None, prompt_tokens: int, reply_tokens: int) -> Any:
    try:
        from genai_prices import Usage, calc_price
    except ImportError as error:
        raise MissingDependencyError(
            "prices need the package genai-prices: pip install genai-prices, or set llm.price"
        ) from error
    usage = Usage(input_tokens=prompt_tokens, output_tokens=reply_tokens)
    return calc_price(usage, model, provider_id=provider).total_price
