"""Chat models that see pictures as judges: LLaVA, SmolVLM, Qwen-VL and their like."""

from collections.abc import Sequence

from selma.core.choices import choose
from selma.judges.chat.model import Seen, load_chat_model
from selma.judges.encode_once import EncodeOnceJudge
from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.templates import TEMPLATES


def load_chat(settings: JudgeSettings) -> Judge:
    """Load a chat model that answers greedily or with a beam, never by a draw.

    Its own chat template is used. An answer is the whole reply without outer white space; a
    normaliser makes "Yes." count (see `normalise`). Penalties, temperatures and the like of the
    model's generation_config.json have no effect. `about["encodes_once"]` says whether the vision
    tower ran once for each picture; where it cannot, it runs for each question.

    Raises: as `load_parts`.
    """
    chat = load_chat_model(settings)

    def answer(seen: Sequence[Seen], texts: Sequence[str]) -> list[str]:
        inputs = chat.inputs(seen, texts)
        tokens = chat.generate(inputs)[:, inputs["input_ids"].shape[1] :]
        replies = chat.processor.tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [reply.strip() for reply in replies]

    return EncodeOnceJudge(
        about=chat.about,
        template=choose("template", settings.template, TEMPLATES),
        questions_per_batch=settings.questions_per_batch,
        encode=chat.see,
        answer=answer,
    )
