"""Options for an LLM that tests change one by one."""

from typing import Any

from selma.llm.generators import LlmOptions


def options(**changes: Any) -> LlmOptions:
    values: dict[str, Any] = {
        "backend": "openai", "model": "m-2024", "revision": "1", "base_url": None,
        "interface": "chat", "reply_format": "list", "temperature": 0.7, "reply_tokens_max": 64,
        "timeout_s": 5.0, "retries": 2, "concurrency": 4, "budget_usd": None, "price": None,
    }  # fmt: skip
    return LlmOptions(**(values | changes))
