"""Make the corpus that emoprobe_small is trained on: CREMA-D's voices and the demo corpus's, as one manifest.

    python scripts/small_audio_llm_corpus.py CREMAD_DIR OUT_DIR
    python train.py experiment=small_audio_llm dataset=manifest dataset.path=OUT_DIR/manifest.csv \
        dataset.partition.kind=official

Votes are the voice-only ones. Speakers are divided before anything is looked at: of CREMA-D the last five actors whose
sound is there are for testing, the one before them for development, the others for training; of the demo corpus its own
parts. Clips are copied, since the paths of a manifest stay within its folder.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import Counter
from pathlib import Path

from emoprobe.data.corpora.cremad import read_cremad
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.utterance import Utterance

LABELS = ("anger", "disgust", "fear", "happy", "neutral", "sad")
TEST, DEVELOPMENT = 5, 1  # actors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cremad", type=Path, help="CREMA-D in its official layout; actors may be missing")
    parser.add_argument("out", type=Path, help="a new folder")
    options = parser.parse_args()
    acted = [one for one in read_cremad(options.cremad, on_error="skip").utterances if one.audio.is_file()]
    actors = sorted({str(one.speaker) for one in acted})
    parts = dict.fromkeys(actors, "train")
    parts |= dict.fromkeys(actors[-TEST - DEVELOPMENT : -TEST], "development") | dict.fromkeys(actors[-TEST:], "test")
    rows = [_row(options.out, "cremad", one, parts[str(one.speaker)]) for one in acted]
    rows += [_row(options.out, "demo", one, str(one.split)) for one in read_demo().utterances]
    with (options.out / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for (part, corpus), count in sorted(Counter((row["split"], row["corpus"]) for row in rows).items()):
        print(f"{part:12} {corpus:7} {count:5} clips")


def _row(out: Path, corpus: str, utterance: Utterance, part: str) -> dict[str, object]:
    """A line of the manifest; the clip is copied."""
    place = Path(corpus) / utterance.audio.name
    (out / corpus).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(utterance.audio, out / place)
    votes = {f"votes_{label}": int(utterance.votes.get(label, 0)) for label in LABELS}
    known = {"utterance_id": utterance.id, "path": place, "speaker": f"{corpus}_{utterance.speaker}"}
    return {**known, "split": part, "corpus": corpus, **votes}


if __name__ == "__main__":
    main()
