"""Text from a model behind a server, within a budget."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose_name
from selma.core.errors import ConfigError
from selma.llm.budget import Budget
from selma.llm.prices import find_price, needed_price
from selma.llm.server import INTERFACES, Server
from selma.llm.transcript import Reply, Request

if TYPE_CHECKING:
    from selma.llm.generators import Answer, LlmOptions, Schema

logger = logging.getLogger(__name__)
_SEED_BITS = 31  # what servers take as a seed


def hosted_answer(options: "LlmOptions", ledger: Path) -> "Answer":
    """Make what asks a server; see `make_answer`."""
    interface = choose_name("LLM interface", options.interface, tuple(INTERFACES))
    if interface == "completions" and options.reply_format == "json_schema":
        raise ConfigError(
            "llm.interface: completions takes no schema; set llm.reply_format to list, or "
            "llm.interface to chat"
        )
    priced = find_price if options.budget_usd is None else needed_price
    price = priced(options.model, options.base_url, options.price)
    budget = None if options.budget_usd is None else Budget(ledger, options.budget_usd)
    server = Server(
        options.model, base_url=options.base_url, timeout_s=options.timeout_s,
        retries=options.retries, price=price, budget=budget,
    )  # fmt: skip

    def answer(request: Request, schema: "Schema | None") -> Reply:
        body: dict[str, Any] = {"seed": request.seed % (1 << _SEED_BITS)}
        if interface == "completions":
            body["prompt"] = request.text
        else:
            body["messages"] = [{"role": "user", "content": request.text}]
        if options.temperature is not None:
            body["temperature"] = options.temperature
        if schema is not None:
            named = {"name": "reply", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        done = server.complete(interface, body, options.reply_tokens_max)
        text = done.text or done.refusal
        if done.finish_reason == "length":
            logger.warning(
                "%s: a reply was cut off at %d tokens (llm.reply_tokens_max)",
                options.model, options.reply_tokens_max,
            )  # fmt: skip
            text = text if schema else text[: text.rfind("\n") + 1]
        counted = (done.prompt_tokens, done.reply_tokens, done.usd)
        return Reply(text, done.finish_reason, *counted)

    return answer
