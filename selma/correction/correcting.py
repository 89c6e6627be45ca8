"""The act of correcting: pictures with their prompts in, results with their traces out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from selma.core.errors import BackendError, BudgetError, RecordError, ReplyError
from selma.core.threads import in_threads
from selma.correction.asking import Conversation, Exchange
from selma.correction.detecting import look_for
from selma.correction.detections import Detection, Thresholds, queries
from selma.correction.detectors.protocol import Detector
from selma.correction.editors.protocol import Editor
from selma.correction.layout import Checked, Layout, check_layout
from selma.correction.lmd import Vocabulary, read_prompt
from selma.correction.loop import Job, Options, Steps, correct
from selma.correction.predicates import Predicate
from selma.correction.replies import ReplyLimits
from selma.correction.scene import Scene
from selma.correction.scoring import layout_passes
from selma.correction.trace import Trace
from selma.llm.generators import RecordedLlm
from selma.llm.transcript import Exchange as Recorded

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Task:
    """A picture to correct."""

    picture: "Image"  # RGB, of any size
    prompt: str
    seed: int  # all that is drawn or asked for the picture follows from it
    thresholds: Thresholds
    scene: Scene | None  # None: an LLM is asked
    suggestion: Any  # a layout to check, as a file holds it; None: an LLM is asked
    predicate: Predicate | None  # the prompt's pass rule, if it has one


@dataclass(frozen=True)
class Tools:
    """Who looks, answers and edits."""

    detector: Detector
    editor: Editor | None  # None: plans are made, and not carried out
    llm: Callable[[], RecordedLlm]  # makes one for each picture, which keeps what it was asked


@dataclass(frozen=True)
class Way:
    """How each picture is corrected."""

    mode: str  # of `requests.MODES`
    options: Options
    limits: ReplyLimits
    retries: int  # further tries for a request whose reply cannot be read
    concurrency: int  # prompts read at once; changes no result


@dataclass(frozen=True)
class Corrected:
    """What became of a picture."""

    picture: "Image"  # the result; the task's own picture if nothing better was made
    edited: tuple["Image", ...]  # as each round left it
    trace: Trace
    said: tuple[Exchange, ...]  # to and by the LLM, in the order of asking
    recorded: tuple[Recorded, ...]  # the same as a transcript keeps it
    unanswered: bool  # the LLM itself failed, not its reply

    @property
    def passes_after(self) -> bool | None:
        """Whether the result passes; None: no rule is known, or it was not looked at."""
        look = self.trace.looks[self.trace.chosen_round]
        return None if look is None else look.passes


def correct_batch(tasks: Sequence[Task], tools: Tools, way: Way) -> list[Corrected]:
    """Correct pictures; what becomes of one does not depend on the others.

    All prompts are read and all pictures looked at together, then each goes its rounds. A model or
    an LLM that fails for a picture makes its verdict "failed" and stops nothing else.

    Raises:
        BudgetError: the LLM's budget is spent.
        MissingDataError: a reply that shall be replayed is not there.
    """
    runs = [_Run(task, tools, way) for task in tasks]
    in_threads(_Run.read, runs, way.concurrency)
    for _, group in groupby(sorted(runs, key=_thresholds), key=_thresholds):
        _look_first([run for run in group if run.scene is not None], tools.detector)
    return [run.finish() for run in runs]


def known_rule(prompt: str, words: Vocabulary) -> Predicate | None:
    """Find the pass rule of a prompt of the LMD benchmark; None if it is none."""
    try:
        return read_prompt(prompt, words)
    except RecordError:
        return None


class LlmWatch:
    """Tells an LLM that answers nothing from one that fails for a picture."""

    def __init__(self) -> None:
        self._answered = False

    def look(self, unanswered: str, answers: int) -> None:
        """Take note of a picture: why the LLM failed, "" if it did not, and how often it answered.

        Raises:
            BackendError: it failed and has answered nothing so far, so it is out of order.
        """
        self._answered = self._answered or answers > 0
        if unanswered and not self._answered:
            raise BackendError(unanswered)


def _thresholds(run: "_Run") -> tuple[float, float, float]:
    one = run.task.thresholds
    return one.attribute, one.primitive, one.nms_iou


def _look_first(runs: Sequence["_Run"], detector: Detector) -> None:
    """Look at pictures together; each apart if that fails, so that one cannot spoil the others."""
    if not runs:
        return
    pictures = [run.task.picture for run in runs]
    scenes = [run.scene for run in runs if run.scene is not None]
    try:
        found = look_for(detector, pictures, scenes, runs[0].task.thresholds)
    except BackendError:
        return
    for run, seen in zip(runs, found, strict=True):
        run.first = seen


class _Run:
    """One picture on its way."""

    def __init__(self, task: Task, tools: Tools, way: Way) -> None:
        self.task, self._tools, self._way = task, tools, way
        self._llm = tools.llm()
        self._talk = Conversation(self._llm, task.prompt, way.retries, task.seed, way.limits)
        self._problem: ReplyError | BackendError | None = None
        self._unanswered = False
        self.scene = task.scene
        self.first: Sequence[Detection] | None = None  # what is seen in the picture as it came
        self._edited: list[Image] = []

    def read(self) -> None:
        """Have the prompt read; a failure is told when the picture's turn comes."""
        if self.scene is not None:
            return
        try:
            with self._asked():
                self.scene = self._talk.scene()
        except BudgetError:
            raise
        except (ReplyError, BackendError) as error:
            self._problem = error

    def finish(self) -> Corrected:
        """Go the rounds."""
        rule, editor = self.task.predicate, self._tools.editor
        steps = Steps[Any](
            read=self._scene,
            detect=self._detect,
            suggest=self._suggest,
            edit=None if editor is None else partial(self._edit, editor),
            passes=None if rule is None else partial(self._passes, rule),
            goal_passes=None if rule is None else partial(layout_passes, rule),
        )
        trace = Trace(self.task.prompt, self._way.mode, self.task.seed)
        result = correct(self.task.picture, steps, self._way.options, trace)
        said, recorded = tuple(self._talk.exchanges), tuple(self._llm.used)
        return Corrected(result, tuple(self._edited), trace, said, recorded, self._unanswered)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except BackendError:
            self._unanswered = True
            raise

    def _scene(self) -> Scene:
        if self.scene is None:
            raise self._problem or ReplyError("its prompt was not read", "")
        return self.scene

    def _detect(self, picture: "Image", scene: Scene) -> Sequence[Detection]:
        if picture is self.task.picture and self.first is not None:
            return self.first
        return look_for(self._tools.detector, [picture], [scene], self.task.thresholds)[0]

    def _suggest(self, scene: Scene, current: Layout, number: int) -> Checked:
        if self.task.suggestion is None:
            with self._asked():
                return self._talk.layout(self._way.mode, scene, current, number)
        nouns = [*scene.nouns, *(one.label.noun for one in current)]
        try:
            return check_layout(self.task.suggestion, nouns, self._way.limits.objects_max)
        except ValueError as error:
            raise ReplyError(f"the layout that was given: {error}", "") from error

    def _edit(self, editor: Editor, picture: "Image", job: Job) -> "Image":
        self._edited.append(editor.edit(picture, job))
        return self._edited[-1]

    def _passes(self, rule: Predicate, picture: "Image", found: Sequence[Detection]) -> bool:
        """Apply the rule to its own labels, also if the LLM read others in the prompt.

        They are then looked for apart: "dog" and "dogs" side by side would share the boxes.
        """
        scene = self._scene()
        if not set(rule.labels()) <= set(queries(scene)):
            asked = rule.scene(scene.background)
            found = look_for(self._tools.detector, [picture], [asked], self.task.thresholds)[0]
        return rule.passes(found)
