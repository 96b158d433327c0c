"""From a batch of encoded clips and tokenised prompts to rows of the score table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from emoprobe.models.answering import AnsweringModel, AudioContext, Generation
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.prompts.prompt import Prompt
from emoprobe.readout.base import AnswerReadout, PromptReadout, SoundReadout
from emoprobe.readout.scoring.asking import Asking, wanted_tokens
from emoprobe.readout.scoring.plan import PromptPlan
from emoprobe.run.cell import NO_PROMPT


def read(
    sfm: AnsweringModel,
    context: AudioContext,
    plans: Sequence[PromptPlan],
    readouts: Sequence[PromptReadout],
    sounds: Sequence[str],
) -> list[list[dict[str, Any]]]:
    """Ask every prompt of every clip of a batch, one pass over the sound.

    Args:
        sfm: The model.
        context: The encoded clips.
        plans: What is asked of all of them.
        readouts: What is read.
        sounds: A name of each clip's sound, for the seeds of draws.

    Returns:
        Per clip the rows of the score table, without the columns that say which clip it was.

    Raises:
        EmoprobeError: A score is not finite.
    """

    def longest(prompt: Prompt) -> int:
        return max(one.limit(prompt) for one in readouts if isinstance(one, AnswerReadout) and one.greedy)

    found: dict[tuple[int, int, str], dict[str, Any]] = {}  # by clip, prompt and readout
    reasoning: dict[tuple[int, int], dict[str, Any]] = {}
    direct = [i for i, plan in enumerate(plans) if not plan.prompt.reasoning_tokens]
    if direct:
        asking = Asking(sfm, context, [plans[i] for i in direct], sounds, longest)
        for readout in readouts:
            for i, clips in zip(direct, readout.ask(asking), strict=True):
                found |= {(clip, i, readout.name): columns for clip, columns in enumerate(clips)}
    indirect = [i for i, plan in enumerate(plans) if plan.prompt.reasoning_tokens]
    thoughts = _reason(sfm, context, [plans[i] for i in indirect])
    answers: list[list[Generation]] = []
    if thoughts and any(isinstance(one, AnswerReadout) and one.greedy for one in readouts):
        limits, keep = [longest(plans[i].prompt) for i in indirect], [wanted_tokens(plans[i]) for i in indirect]
        asked = [[after.free for _, after in thought] for thought in thoughts]
        answers = sfm.generate_each(context, asked, max_new_tokens=limits, keep=keep)
    for place, (i, thought) in enumerate(zip(indirect, thoughts, strict=True)):
        for clip, (written, after) in enumerate(thought):
            own = [[answers[place][clip]]] if answers else None
            asking = Asking(sfm, sfm.select(context, clip), [after], sounds[clip : clip + 1], longest, own)
            for readout in readouts:
                found[clip, i, readout.name] = readout.ask(asking)[0][0]
            reasoning[clip, i] = written
    rows: list[list[dict[str, Any]]] = [[] for _ in range(context.size)]
    for clip in range(context.size):
        for i, plan in enumerate(plans):
            for readout in readouts:
                row = {
                    **_of_model(sfm),
                    "prompt": plan.prompt.name,
                    "prompt_hash": plan.prompt.hash,
                    "question_hash": plan.question_hash,
                    "label_set_hash": plan.label_set_hash,
                    "readout": readout.name,
                    "readout_options": readout.options(plan.prompt),
                    "answer_format": plan.prompt.answer_format,
                    **reasoning.get((clip, i), {}),
                    "form_labels": list(plan.labels),
                    "forms": list(plan.forms),
                    "form_tokens": [list(tokens) for tokens in plan.question.continuations],
                    "form_own_tokens": list(plan.own_tokens),
                    **found[clip, i, readout.name],
                }
                readout.check_finite(row)
                rows[clip].append(row)
    return rows


def read_sounds(
    sfm: SpeechFoundationModel, waveforms: Sequence[Tensor], readouts: Sequence[SoundReadout], label_set_hash: str
) -> list[list[dict[str, Any]]]:
    """Per clip the rows of the readouts that ask nothing, without the columns that say which clip it was.

    Args:
        sfm: The model.
        waveforms: The clips, ``[samples]`` each.
        readouts: What is read.
        label_set_hash: Of the run's label set.

    Raises:
        EmoprobeError: A score is not finite.
    """
    rows: list[list[dict[str, Any]]] = [[] for _ in waveforms]
    for readout in readouts:
        for clip, columns in enumerate(readout.listen(sfm, waveforms)):
            row = {
                **_of_model(sfm),
                "prompt": NO_PROMPT,
                "prompt_hash": "",
                "question_hash": "",
                "label_set_hash": label_set_hash,
                "readout": readout.name,
                "readout_options": readout.options(None),
                **columns,
            }
            readout.check_finite(row)
            rows[clip].append(row)
    return rows


def _of_model(sfm: SpeechFoundationModel) -> dict[str, Any]:
    return {"model": sfm.name, "model_revision": sfm.revision, "dtype": sfm.dtype}


def _reason(
    sfm: AnsweringModel, context: AudioContext, plans: Sequence[PromptPlan]
) -> list[list[tuple[dict, PromptPlan]]]:
    """Per plan and clip the columns of the model's own reasoning, and the plan that asks for the answer after it.

    Where the reasoning already comes to the cue of the answer it is cut before it. Reasoning that neither came to the
    cue nor ended by itself is not finished.
    """
    if not plans:
        return []
    limits = [plan.prompt.reasoning_tokens for plan in plans]
    thoughts = sfm.generate(context, [plan.free for plan in plans], max_new_tokens=limits)
    return [_after(sfm, plan, row) for plan, row in zip(plans, thoughts, strict=True)]


def _after(sfm: AnsweringModel, plan: PromptPlan, thoughts: Sequence[Generation]) -> list[tuple[dict, PromptPlan]]:
    results = []
    for generation in thoughts:
        tokens = generation.tokens
        cue = plan.prompt.answer_cue.strip()
        came_to_cue = cue in generation.text
        if came_to_cue:
            place = generation.text.index(cue)
            tokens = next(tokens[:n] for n in range(len(tokens), -1, -1) if len(sfm.decode(tokens[:n])) <= place)
        prefix = (*plan.free.prefix, *tokens, *plan.question.prefix[len(plan.free.prefix) :])
        added = len(prefix) - len(plan.free.prefix)
        question = replace(plan.question, prefix=prefix, added=added)
        after = replace(plan, question=question, free=replace(question, continuations=()))
        written = {"reasoning": sfm.decode(tokens), "reasoning_finished": came_to_cue or generation.finished}
        results.append((written, after))
    return results
