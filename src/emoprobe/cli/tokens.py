"""``emoprobe tokens``: what exactly is scored of every label after every prompt."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emoprobe.checks.tokens import SPACINGS, TokenAudit, audit, load
from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command
from emoprobe.errors import InputError

WIDTH = 200  # of the table in a file


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status, 1 if a prompt was refused."""
    parser = make_parser(
        "tokens",
        "Show how a model's tokenizer splits every label after every prompt, and refuse label sets that cannot be told "
        "apart. Nothing is scored. Exit status: 1 if a prompt was refused.",
        "model=whisper_base labels=ravdess8 prompt=whisper_all",
    )
    add_overrides(parser, "model=... labels=... prompt=...")
    parsed = parser.parse_intermixed_args(arguments)

    sfm, labels, prompts = load(overrides_of(parsed))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(Text(f"Model {sfm.name} ({sfm.revision}), labels {labels.name}\n"), soft_wrap=True)
    status = 0
    for prompt in prompts:
        try:
            show(audit(sfm, prompt, labels), console)
        except InputError as error:
            status = 1
            print(f"error: prompt {prompt.name}: {error}", file=sys.stderr)
    return status


def show(result: TokenAudit, console: Console) -> None:
    """Print an audit; what prompts and tokens hold is text, never markup."""
    limit = result.plan.prompt.reasoning_tokens
    ending = f" [up to {limit} tokens of the model's own] ".join(map(repr, result.ending))
    title = Text.assemble((result.plan.prompt.name, "bold"), f" ends with {ending}")
    console.print(title, soft_wrap=True)
    console.print(token_table(result))
    for line in remarks(result):
        console.print(Text(line), soft_wrap=True)
    console.print()


def visible(text: str) -> str:
    """Text on one line: a space as ``·``, a line break as ``\\n``."""
    return "".join("·" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in text)


def joined(texts: Sequence[str]) -> str:
    """Tokens as ``·sad|ness``."""
    return "|".join(map(visible, texts))


def token_table(result: TokenAudit) -> Table:
    """One row per surface form."""
    from rich.table import Table

    from emoprobe.report.fitting import LAYOUT

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
        known = [(own, item.own) for item in result.forms if (own := item.others[other]) is not None]
        differ = sum(len(own) != len(written) for own, written in known)
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
