"""Show how a model's tokenizer splits every label after every prompt, before a run.

Command: ``python -m emoprobe tokens model=... labels=... prompt=...`` (Hydra overrides, as for probe.py). It scores
nothing, and an ambiguous set of labels ends in an error that says what to change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import permutations
from typing import TYPE_CHECKING, Any

from emoprobe.cli.entry import command
from emoprobe.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console
    from rich.table import Table

    from emoprobe.labels import LabelSet
    from emoprobe.models.base import Question, SpeechFoundationModel
    from emoprobe.prompts.prompt import Prompt
    from emoprobe.readout.scoring.plan import PromptPlan

SHOWN = 60  # characters of a prompt's end
SPACINGS = {" ": "with a space", "": "without a space"}
WIDTH = 200  # of the table in a file
WEIGHTLESS = {"device_map": "meta", "quantization": None}  # what a loader is told that can leave the weights out


@dataclass(frozen=True)
class FormTokens:
    """How one surface form is tokenised after a prompt.

    Args:
        label: Its label.
        form: The surface form.
        ids: Token ids of the whole continuation: the form's own, the template's text after it, the end.
        own: Text of the form's own tokens.
        tail: Text of the tokens of the template's text after the label.
        end: Text of the end token.
        others: Text of the form's tokens under the spacings of `SPACINGS` that are not used; None where the form cannot
            be written so, since it would join with the prompt.
    """

    label: str
    form: str
    ids: tuple[int, ...]
    own: tuple[str, ...]
    tail: tuple[str, ...]
    end: str
    others: Mapping[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class TokenAudit:
    """What a model's tokenizer makes of a prompt and a label set.

    Args:
        plan: The tokenised prompt.
        ending: Text that the answer continues: the last `SHOWN` characters of the prefix. Of a prompt with reasoning
            there are two, one that the reasoning continues and one that the answer does.
        spacing: What stands between prompt and form.
        forms: The surface forms, in the order of the plan.
        sounds: How often the sound stands in the prefix; None for a model that does not read it there.
    """

    plan: PromptPlan
    ending: tuple[str, ...]
    spacing: str
    forms: tuple[FormTokens, ...]
    sounds: int | None

    @property
    def conflicts(self) -> list[tuple[FormTokens, FormTokens, bool]]:
        """``(short, long, whether only the end tells them apart)``: a form's tokens begin another form's."""
        found = []
        for short, long in permutations(self.forms, 2):
            own = short.ids[: len(short.own)] == long.ids[: len(long.own)][: len(short.own)]
            whole = short.ids[:-1] == long.ids[:-1][: len(short.ids) - 1]
            if own or whole:
                found.append((short, long, whole))
        return found

    @property
    def shared(self) -> dict[int, tuple[str, ...]]:
        """First tokens of several labels, with these labels."""
        labels: dict[int, dict[str, None]] = {}
        for item in self.forms:
            labels.setdefault(item.ids[0], {})[item.label] = None
        return {token: tuple(names) for token, names in labels.items() if len(names) > 1}


def audit(sfm: SpeechFoundationModel, prompt: Prompt, labels: LabelSet) -> TokenAudit:
    """Tokenise a prompt with all surface forms; facts of an utterance that it needs are ``N/A``.

    Raises:
        InputError: Two surface forms have the same tokens, a form has no token or the unknown one, the prompt and a
            label cannot be told apart, or the sound does not stand in the prompt exactly once.
    """
    from emoprobe.readout.scoring.plan import NO_FACTS, make_plan

    plan = make_plan(sfm, prompt, labels, NO_FACTS)
    text = prompt.text(labels, NO_FACTS)
    _, word, answer = prompt.answers(labels)[0]
    tail = prompt.template.partition("{label}")[2]
    spacing = answer.removesuffix(word + tail)

    def ask(continuation: str) -> Question:
        if prompt.reasoning_tokens:
            return sfm.extend(plan.free, (), f"\n{text.before}", [continuation])
        return sfm.question(text, [continuation])

    def under(other: str, form: str) -> tuple[str, ...] | None:
        try:
            question = ask(other + form)
        except InputError:
            return None
        return pieces(sfm, question.prefix[-1:], question.continuations[0][:-1])

    forms = []
    for label, form, ids, own in zip(
        plan.labels, plan.forms, plan.question.continuations, plan.own_tokens, strict=True
    ):
        *texts, end = pieces(sfm, plan.question.prefix[-1:], ids)
        others = {other: under(other, form) for other in SPACINGS if other != spacing}
        forms.append(FormTokens(label, form, ids, tuple(texts[:own]), tuple(texts[own:]), end, others))
    family = getattr(sfm, "family", None)
    sounds = None if family is None else plan.question.prefix.count(family.audio_token_id)
    return TokenAudit(plan, _ending(sfm, plan), spacing, tuple(forms), sounds)


def _ending(sfm: SpeechFoundationModel, plan: PromptPlan) -> tuple[str, ...]:
    prefix = plan.question.prefix
    if not plan.prompt.reasoning_tokens:
        return (sfm.decode(prefix)[-SHOWN:],)
    length = len(plan.free.prefix)
    return sfm.decode(prefix[:length])[-SHOWN:], sfm.decode(prefix[length:])[-SHOWN:]


def pieces(sfm: SpeechFoundationModel, before: Sequence[int], tokens: Sequence[int]) -> tuple[str, ...]:
    """Text of each token, read where it stands: some tokenizers drop the space at the beginning of a text.

    Args:
        sfm: The model.
        before: At least the last token before them.
        tokens: The tokens.
    """
    texts = [sfm.decode((*before, *tokens[:count])) for count in range(len(tokens) + 1)]
    found = []
    for short, long, token in zip(texts, texts[1:], tokens, strict=False):
        # A token that is a part of a character changes the text before it, or nothing; it is shown by itself.
        grown = long[len(short) :] if long.startswith(short) else ""
        found.append(grown or sfm.decode([token]))
    return tuple(found)


# -- printing ----------------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """Text on one line: a space as ``·``, a line break as ``\\n``."""
    return "".join("·" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in text)


def joined(texts: Sequence[str]) -> str:
    """Tokens as ``·sad|ness``."""
    return "|".join(map(visible, texts))


def token_table(result: TokenAudit) -> Table:
    """One row per surface form."""
    from rich.table import Table
    from rich.text import Text

    from emoprobe.report.tables import LAYOUT

    others = [other for other in SPACINGS if other != result.spacing]
    table = Table(**LAYOUT)
    for name in ("label", "form", "tokens", "own", "tail", "end", "ids", *(SPACINGS[other] for other in others)):
        table.add_column(name, overflow="fold", justify="right" if name == "own" else "left")
    for item in result.forms:
        cells = [item.label, visible(item.form), joined(item.own), str(len(item.own)), joined(item.tail)]
        cells += [visible(item.end), " ".join(map(str, item.ids))]
        for other in others:
            texts = item.others[other]
            if texts is None:
                cells.append("not possible")
            else:
                differs = len(texts) != len(item.own)
                cells.append(joined(texts) + (f"  ({len(texts)} instead of {len(item.own)})" if differs else ""))
        table.add_row(*map(Text, cells))
    return table


def remarks(result: TokenAudit) -> list[str]:
    """What a reader of the table should know, one line each; the first is the summary."""
    if result.sounds is None:
        sound = "the sound does not stand in it (the decoder attends to it)"
    else:
        sound = f"the sound stands in it {'exactly once' if result.sounds == 1 else f'{result.sounds} times'}"
    longest = max(len(item.ids) for item in result.forms)
    lines = [f"Prefix of {len(result.plan.question.prefix)} tokens, {sound}; longest continuation {longest} tokens."]
    used = SPACINGS.get(result.spacing, f"after {result.spacing!r}")
    total = len(result.forms)
    for other in result.forms[0].others:
        known = [item for item in result.forms if item.others[other] is not None]
        differ = sum(len(item.others[other]) != len(item.own) for item in known)
        impossible = f", {total - len(known)} cannot be written so" if len(known) < total else ""
        counts = f"{differ} of {total} have another number of tokens{impossible}"
        lines.append(f"Forms are written {used}; {SPACINGS[other]}, {counts}.")
    for short, long, only_end in result.conflicts:
        which = "the end token tells" if only_end else "the template's text after the label tells"
        where = " (both of one label)" if short.label == long.label else ""
        without = "; the normalization without_end cannot be used" if only_end else ""
        lines.append(f"The tokens of {short.form!r} begin {long.form!r}{where}: {which} them apart{without}.")
    first = {item.ids[0]: item.own[0] for item in result.forms}
    for token, names in result.shared.items():
        lines.append(
            f"{' and '.join([', '.join(names[:-1]), names[-1]])} begin with the same token {visible(first[token])} "
            f"({token}): readings with tokens: first cannot tell them apart."
        )
    return lines


def show(result: TokenAudit, console: Console) -> None:
    """Print an audit; what prompts and tokens hold is text, never markup."""
    from rich.text import Text

    limit = result.plan.prompt.reasoning_tokens
    ending = f" [up to {limit} tokens of the model's own] ".join(map(repr, result.ending))
    title = Text.assemble((result.plan.prompt.name, "bold"), f" ends with {ending}")
    console.print(title, soft_wrap=True)
    console.print(token_table(result))
    for line in remarks(result):
        console.print(Text(line), soft_wrap=True)
    console.print()


# -- command -----------------------------------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of ``python -m emoprobe tokens``."""
    parser = argparse.ArgumentParser(
        prog="python -m emoprobe tokens",
        description="Show how a model's tokenizer splits every label after every prompt, and refuse label sets that "
        "cannot be told apart.",
        epilog="Example: python -m emoprobe tokens model=whisper_base labels=ravdess8 prompt=whisper_all",
    )
    parser.add_argument(
        "overrides", nargs="*", help="Hydra overrides of the groups model, labels and prompt, as for probe.py"
    )
    return parser.parse_args(arguments)


def load(config: DictConfig) -> Any:
    """The model of a configuration; its weights stay out of memory where its loader takes a device map."""
    from hydra.utils import instantiate

    from emoprobe.settings import call, plain

    options = plain(config.model)
    if "device_map" in options and find_spec("accelerate") is not None:
        options |= {name: value for name, value in WEIGHTLESS.items() if name in options}
    return call(lambda: instantiate(options, _convert_="all"), "model")


def run(overrides: Sequence[str]) -> bool:
    """Print every prompt's audit; returns whether none was refused."""
    from rich.console import Console
    from rich.text import Text

    from emoprobe.labels import LabelSet
    from emoprobe.prompts.prompt import make_prompts
    from emoprobe.settings import build, compose, plain

    config = compose(overrides)
    labels = build(LabelSet, plain(config.labels), "labels")
    prompts = make_prompts(plain(config.prompt), labels)
    sfm = load(config)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(Text(f"Model {sfm.name} ({sfm.revision}), labels {labels.name}\n"), soft_wrap=True)
    fine = True
    for prompt in prompts:
        try:
            show(audit(sfm, prompt, labels), console)
        except InputError as error:
            fine = False
            print(f"error: prompt {prompt.name}: {error}", file=sys.stderr)
    return fine


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parsed = parse_arguments(arguments)
    return 0 if run(parsed.overrides) else 1


if __name__ == "__main__":
    sys.exit(main())
