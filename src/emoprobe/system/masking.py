"""Secrets in a configuration are used, and written, sent and printed as ``***``.

A key is secret by its words: ``token``, ``api_key``, ``hf_token``, ``wandb.apiKey``; ``max_new_tokens`` and
``eos_token_id`` are none. What `learn` has found under such keys is masked in free text too, and so is what the
environment holds under such names. A secret is best left out of the configuration: ``${oc.env:HF_TOKEN}`` stays as it
is in what Hydra writes.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

MASK = "***"
WORDS = frozenset(
    {"token", "password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "credential", "credentials"}
    | {"authorization", "auth", "bearer", "apikey", "cookie"}
)
PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("account", "key"), ("signing", "key")})
# Tokens of a tokenizer, by the word before and after: ``pad_token``, ``token_ids``.
OF_TOKENIZERS = frozenset(
    {"bos", "eos", "pad", "unk", "sep", "cls", "mask", "start", "end", "special", "first", "last"}
)
OF_VOCABULARIES = frozenset({"id", "ids", "index", "type", "types"})
SHORTEST = 6  # shorter values are no secrets worth the name, and stand in many texts by chance
_OVERRIDE = re.compile(r"(?P<key>[+~]*[\w.@/-]+)=.*", re.DOTALL)
_USER = re.compile(r"(?<=://)(?P<name>[^/\s@:'\"]*:)?[^/\s@'\"]+(?=@)")  # of an address: name and password, or token
_VALUE = r"""(?P<value>\$\{[^}]*\}|"[^"]*"|'[^']*'|[^\s,'"{}()\[\]]+)"""
_ASSIGNMENTS = (  # key=value, and {key: value}
    re.compile(rf"(?P<key>[\w.@/+~-]*\w)(?P<sign>=){_VALUE}"),
    re.compile(rf"""(?<=[{{,])(?P<key>\s*["']?[\w.@/-]*\w)(?P<sign>["']?\s*:\s*){_VALUE}"""),
)
_known: set[str] = set()


def is_secret(key: object) -> bool:
    """Whether a key looks like that of a secret: by its whole words, in snake_case, kebab-case or camelCase."""
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", str(key).rpartition(".")[2])
    words = [word for word in re.split(r"[^a-z0-9]+", parts.lower()) if word]
    around = zip(["", *words], words, [*words[1:], ""], strict=False)
    return any(pair in PAIRS for pair in itertools.pairwise(words)) or any(
        word in WORDS and not (word == "token" and (before in OF_TOKENIZERS or after in OF_VOCABULARIES))
        for before, word, after in around
    )


def masked(value: Any, secret: bool = False) -> Any:
    """A configuration in which no secret can be read.

    Args:
        value: Nested dictionaries, lists and scalars.
        secret: Whether it stands under a secret key.
    """
    if isinstance(value, Mapping):
        return {key: masked(item, secret or is_secret(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, secret) for item in value]
    if secret:
        return MASK if _is_secret_value(value) else value
    return mask_override(value) if isinstance(value, str) else value


def learn(value: Any, secret: bool = False) -> None:
    """Remember the secrets of a configuration, so that `scrub` finds them in any text."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            learn(item, secret or is_secret(key))
    elif isinstance(value, list | tuple):
        for item in value:
            learn(item, secret)
    elif secret and _is_secret_value(value) and len(str(value)) >= SHORTEST:
        _known.add(str(value))


def learn_config(config: DictConfig) -> None:
    """`learn` of a node, with what its interpolations give."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    learn(OmegaConf.to_container(config, resolve=False))
    with suppress(OmegaConfBaseException):  # whoever needs the value says what is wrong
        learn(OmegaConf.to_container(config, resolve=True))


def scrub(text: str) -> str:
    """A text without known secrets, those in addresses, and what it gives to a secret key (``key=value``)."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, MASK)
    text = _USER.sub(lambda found: (found["name"] or "") + MASK, text)
    for pattern in _ASSIGNMENTS:
        text = pattern.sub(_mask_assignment, text)
    return text


def mask_override(override: str) -> str:
    """A Hydra override (or any other text) without secrets; of a secret key all values of a sweep are masked."""
    found = _OVERRIDE.fullmatch(override)
    if found and is_secret(found["key"]) and _is_secret_value(override[found.end("key") + 1 :]):
        return f"{found['key']}={MASK}"
    return scrub(override)


def _mask_assignment(found: re.Match) -> str:
    value = found["value"].strip("'\"")
    if not is_secret(found["key"]) or not _is_secret_value(value):
        return found[0]
    return f"{found['key']}{found['sign']}{MASK}"


def _is_secret_value(value: object) -> bool:
    """Nothing, a switch and an interpolation that has not been resolved give nothing away."""
    if value is None or isinstance(value, bool):
        return False
    return str(value).strip().lower() not in ("", "null", "none", "true", "false", "???", MASK) and not (
        isinstance(value, str) and value.startswith("${")
    )


def mask_files(folder: Path) -> None:
    """Mask the YAML files that Hydra has written into a folder."""
    from omegaconf import OmegaConf

    for file in sorted(folder.glob("*.yaml")):
        config = OmegaConf.load(file)
        before = OmegaConf.to_container(config, resolve=False)
        after = masked(before)
        if after != before:
            OmegaConf.save(OmegaConf.create(after), file)


@contextmanager
def masked_command() -> Iterator[None]:
    """The command line without secrets, while a tracker starts that writes it down."""
    command = sys.argv
    sys.argv = [mask_override(part) for part in command]
    try:
        yield
    finally:
        sys.argv = command


def mask_tracebacks() -> None:
    """Mask what tracebacks of this process say, secrets of its environment included."""
    learn({name: value for name, value in os.environ.items() if name != "PWD"})
    sys.excepthook = _print_masked


def _print_masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(scrub("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="", flush=True)


def mask_logs() -> None:
    """Mask what is logged from now on, for Hydra tells the overrides of every job of a sweep."""
    make = logging.getLogRecordFactory()
    if make.__module__ == __name__:
        return

    def masked_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        message = record.getMessage()
        if (clean := scrub(message)) != message:
            record.msg, record.args = clean, ()
        return record

    logging.setLogRecordFactory(masked_record)
