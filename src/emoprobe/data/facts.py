"""What prompts say of an utterance beside its sound: its transcript, the dialogue before it, its acoustics in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emoprobe.data.audio import AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError


def gather_facts(
    needs: frozenset[str],
    utterances: Sequence[Utterance],
    corpus: Sequence[Utterance],
    limits: AudioLimits,
    on_error: str,
    *,
    progress: bool = True,
) -> tuple[dict[str, Mapping[str, str]], dict[str, Skipped]]:
    """Facts of every utterance.

    Args:
        needs: Facts that some prompt needs: ``transcript``, ``dialogue``, ``acoustics``.
        utterances: The evaluated utterances.
        corpus: All utterances of the corpus: what is a high pitch is decided among them.
        limits: Which clips are taken, for acoustics.
        on_error: ``error``, or ``skip`` to leave out an utterance that lacks a fact.

    Returns:
        Utterance id -> facts, and utterance id -> why it is left out.

    Raises:
        InputError: An utterance lacks a fact and ``on_error`` is ``error``.
    """
    if not needs:
        return {}, {}
    acoustics: Mapping[str, str] = {}
    if "acoustics" in needs:
        from emoprobe.data.acoustics import acoustic_facts

        acoustics = acoustic_facts(corpus, limits, progress=progress)
    facts: dict[str, Mapping[str, str]] = {}
    skipped: dict[str, Skipped] = {}
    for utterance in utterances:
        known = {
            "transcript": utterance.transcript,
            "dialogue": utterance.dialogue,
            "acoustics": acoustics.get(utterance.id),
        }
        # Sound that cannot be read is reported where it is read.
        missing = [name for name in sorted(needs - {"acoustics"}) if not (known[name] or "").strip()]
        if known["dialogue"] == "":  # the first turn of a dialogue; None where nothing is known of it
            missing = [name for name in missing if name != "dialogue"]
        if missing:
            error = InputError(
                f"utterance {utterance.id!r} has no {missing[0]}, which a prompt needs",
                file=utterance.file,
                row=utterance.row,
                field=missing[0],
                remedy="Choose prompts without it, complete the corpus, or leave such utterances out with "
                "dataset.on_error=skip.",
            )
            if on_error != "skip":
                raise error
            file = str(utterance.file or "")
            skipped[utterance.id] = Skipped(utterance.id, "missing_fact", str(error), file, utterance.row)
        else:
            facts[utterance.id] = {name: known[name] or "N/A" for name in needs}
    return facts, skipped
