"""The command `selma questions`: an LLM writes DSG or TIFA questions for new prompts."""

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from selma.llm.generators import Answer, LlmOptions
    from selma.questions.generation import Written

RETRIES = 3
ASKING: dict[str, Any] = {  # how a server is asked; no limit of money
    "interface": "chat", "reply_format": "list", "reply_tokens_max": 4096, "timeout_s": 120.0,
    "retries": 6, "concurrency": 1, "budget_usd": None, "price": None,
}  # fmt: skip


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("questions", help="have an LLM write questions for prompts")
    command.add_argument("method", help="dsg: yes/no with dependencies; tifa: with choices")
    command.add_argument(
        "--prompts", type=Path, required=True, help=".txt, .jsonl, or a .parquet prompts table"
    )
    command.add_argument("--out", type=Path, required=True, metavar="BENCHMARK.parquet")
    command.add_argument(
        "--backend", required=True, help="openai, or pocket with the model pocket-questions"
    )
    command.add_argument("--model", required=True)
    command.add_argument("--revision", required=True, help="kept beside the questions")
    command.add_argument("--base-url", help="of the server; default: OPENAI_BASE_URL, or OpenAI's")
    command.add_argument("--temperature", type=float, default=0.0)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--retries", type=int, default=RETRIES, help="tries after a reply that cannot be used"
    )
    command.add_argument(
        "--replies", type=Path, help="stored replies; default: beside --out, .replies.jsonl"
    )
    command.add_argument(
        "--unifiedqa", type=Path, metavar="FOLDER", help="tifa: model that questions must pass"
    )
    command.add_argument(
        "--allow-partial", action="store_true", help="write the prompts that have questions"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the benchmark table.

    BackendError if a prompt stayed without questions, and not --allow-partial, or all did.
    """
    from selma.core.choices import choose
    from selma.core.tables import write_table
    from selma.llm.generators import LlmOptions, RecordedLlm
    from selma.llm.transcript import Transcript
    from selma.questions.generation import METHODS, write_questions
    from selma.questions.prompt_files import read_prompts
    from selma.runtime.progress import progress

    method = choose("question method", args.method, METHODS)
    if args.retries < 0 or (args.unifiedqa and args.method != "tifa"):
        raise ConfigError("expected --retries of at least 0, and --unifiedqa only with tifa")
    prompts = read_prompts(args.prompts)
    llm = {key: getattr(args, key) for key in ("backend", "model", "revision", "temperature")}
    options = LlmOptions(**llm, base_url=args.base_url, **ASKING)
    transcript = Transcript(args.replies or args.out.with_suffix(".replies.jsonl"))
    recorded = RecordedLlm(options, _answer(options), transcript)
    with progress(len(prompts), f"{args.method} questions") as advance:
        written = write_questions(
            args.method, prompts, recorded, retries=args.retries, seed=args.seed, advance=advance
        )
    bad = {reply.reply for failure in written.failures for reply in failure.bad_replies}
    recorded.forget(one for one in recorded.used if one[1].text in bad)
    failed = _tell_failures(written, args.out.with_suffix(".failures.json"))
    if failed and (not args.allow_partial or not written.rows):
        raise BackendError(failed)
    passed = _passed(written, args.unifiedqa) if args.unifiedqa else {}
    about = {"method": args.method, "source": method.source, **llm, **passed}
    about |= {"request_versions": method.request_versions(), "counts": asdict(written.counts)}
    about |= {"seed": args.seed, "retries": args.retries}
    write_table(args.out, "benchmark", written.rows, about=about)
    counts = written.counts
    print(
        f"{args.out}: {sum(len(row['questions']) for row in written.rows)} questions for "
        f"{len(written.rows)} of {counts.prompts} prompts; {counts.requests} requests, "
        f"{counts.unreadable} replies unreadable"
    )


def _answer(options: "LlmOptions") -> "Answer":
    from selma.llm.generators import free_answer, make_answer

    if options.backend == "pocket":
        from selma.pocket.question_writer import PocketQuestionWriter

        return free_answer(PocketQuestionWriter(options.model, options.revision))
    return make_answer(options, Path())


def _tell_failures(written: "Written", path: Path) -> str:
    """Write the failures, or take away those of an earlier run; "" if there are none."""
    from selma.core.files import write_json

    if not written.failures:
        path.unlink(missing_ok=True)
        return ""
    write_json(path, [asdict(failure) for failure in written.failures])
    return (
        f"{len(written.failures)} of {written.counts.prompts} prompts have no questions, first "
        f"{written.failures[0].item_id!r}; {path} holds the replies that could not be used; take "
        "another --model, raise --retries, or go on without them by --allow-partial"
    )


def _passed(written: "Written", directory: Path) -> dict[str, Any]:
    """Keep, in the rows, the questions that a question-answering model passes."""
    from selma.core.devices import prepare_device
    from selma.questions.unified_qa import filter_questions, load_unified_qa

    answer = load_unified_qa(directory, device=prepare_device())
    dropped: Counter[str] = Counter()
    for row in written.rows:
        row["questions"], lost = filter_questions(row["prompt"], row["questions"], answer)
        dropped.update(lost)
    return {"unifiedqa": {"model": directory.name, "dropped": dict(dropped)}}
