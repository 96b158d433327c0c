"""What prompts say of an utterance beside its sound: its transcript, the dialogue before it, its acoustics in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError


def gather_facts(
    needs: frozenset[str],
    utterances: Sequence[Utterance],
    corpus: Sequence[Utterance],
    limits: AudioLimits,
    on_error: str,
    *,
    check: Callable[[str], None] = lambda text: None,
    progress: bool = True,
    told: Callable[[Utterance, Mapping[str, str]], str | None] = lambda utterance, known: known.get(utterance.id),
) -> tuple[dict[str, Mapping[str, str]], dict[str, Skipped]]:
    """Facts of every utterance.

    Args:
        needs: Facts that some prompt needs: ``transcript``, ``dialogue``, ``acoustics``.
        utterances: The evaluated utterances.
        corpus: All utterances of the corpus: what is a high pitch is decided among them.
        limits: Which clips are taken, for acoustics.
        on_error: ``error``, or ``skip`` to leave out an utterance that lacks a fact or has one that cannot be said.
        check: Raises `InputError` for text that the model would not read as text.
        progress: Whether to show a progress bar.
        told: What is said of how an utterance sounds, given what is known of all.

    Returns:
        Utterance id -> facts, and utterance id -> why it is left out.

    Raises:
        InputError: An utterance lacks a fact, or has one that `check` refuses, and ``on_error`` is ``error``.
    """
    if not needs:
        return {}, {}
    acoustics: Mapping[str, str] = {}
    if "acoustics" in needs:
        from emoprobe.data.sound.acoustics import acoustic_facts

        acoustics = acoustic_facts(corpus, limits, progress=progress)
    facts: dict[str, Mapping[str, str]] = {}
    skipped: dict[str, Skipped] = {}
    for utterance in utterances:
        known = {
            "transcript": utterance.transcript,
            "dialogue": utterance.dialogue,
            "acoustics": told(utterance, acoustics),
        }
        # Sound that cannot be read is reported where it is read.
        missing = [name for name in sorted(needs - {"acoustics"}) if not (known[name] or "").strip()]
        if known["dialogue"] == "":  # the first turn of a dialogue; None where nothing is known of it
            missing = [name for name in missing if name != "dialogue"]
        reason, error = "missing_fact", None
        if missing:
            error = InputError(
                f"utterance {utterance.id!r} has no {missing[0]}, which a prompt needs",
                file=utterance.file,
                row=utterance.row,
                field=missing[0],
                remedy="Choose prompts without it, complete the corpus, or leave such utterances out with "
                "dataset.on_error=skip.",
            )
        else:
            facts[utterance.id] = {name: known[name] or "N/A" for name in needs}
            reason, error = "bad_fact", _unsayable(utterance, facts[utterance.id], check)
        if error is not None:
            if on_error != "skip":
                raise error
            facts.pop(utterance.id, None)
            file = str(utterance.file or "")
            skipped[utterance.id] = Skipped(utterance.id, reason, str(error), file, utterance.row)
    return facts, skipped


def _unsayable(utterance: Utterance, facts: Mapping[str, str], check: Callable[[str], None]) -> InputError | None:
    """What is wrong with the first of an utterance's facts that the model would not read as text."""
    for name in sorted(facts):
        try:
            check(facts[name])
        except InputError as error:
            return InputError(
                f"the {name} of utterance {utterance.id!r} cannot be said to the model: {error.what}",
                file=utterance.file,
                row=utterance.row,
                field=name,
                remedy="Remove it from the corpus, or leave such utterances out with dataset.on_error=skip.",
            )
    return None
