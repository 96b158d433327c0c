"""Requests to a running OpenAI-compatible server: what it is, and many questions at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from emoprobe.errors import EmoprobeError, InputError, some
from emoprobe.models.answering import UnansweredError

AGAIN = (408, 425, 429, 500, 502, 503, 504)  # states of a server that may pass
FIRST_PAUSE = 0.5  # seconds before a request is repeated the first time; twice as long each further time
SHOWN = 300  # characters of what a server says


class Server:
    """A server of vLLM's protocol.

    Args:
        url: Of its API, such as ``http://localhost:8000/v1``.
        model: What it calls the model; None for the only one that it serves.
        api_key: Sent as a bearer token; None for none.
        timeout: Seconds until an answer.
        retries: How often a request is repeated that failed for a reason that may pass.
        concurrency: Requests under way at once.

    Raises:
        InputError: There is no such server or model.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: int = 4,
        concurrency: int = 32,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(
                f"{url!r} is no address of a server",
                field="model.url",
                remedy="Give one, such as http://localhost:8000/v1.",
            )
        if "@" in url.removeprefix("http://").removeprefix("https://").partition("/")[0]:
            raise InputError(
                "the address of the server holds a name or password, which would stand in every record",
                field="model.url",
                remedy="Give a key as model.api_key='${oc.env:NAME}' instead.",
            )
        self.root = url.rstrip("/").removesuffix("/v1")
        self.url, self.retries, self.concurrency = f"{self.root}/v1", retries, concurrency
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request, where Hydra's log is on
        self._client = httpx.Client(headers=headers, timeout=timeout, limits=limits)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="server")
        self.model, self.serves = self._choose(model)
        self.version = self._version()

    def _choose(self, model: str | None) -> tuple[str, str]:
        """``(name, root)`` of the model: what it is called, and what was loaded under that name."""
        try:
            cards = {
                card["id"]: str(card.get("root") or card["id"]) for card in self._get(f"{self.url}/models")["data"]
            }
        except (KeyError, TypeError) as error:
            raise self._no_server("it lists no models") from error
        if model is None and len(cards) == 1:
            model = next(iter(cards))
        if model is None or model not in cards:
            what = "it serves several models" if model is None else f"it does not serve {model!r}"
            raise InputError(
                f"{self.url}: {what}", field="model.served", remedy=f"Name one of {some(list(cards), 10)}."
            )
        return model, cards[model]

    def _version(self) -> str:
        try:
            return str(self._get(f"{self.root}/version")["version"])
        except (KeyError, TypeError) as error:
            raise self._no_server("it does not tell its version at /version, as vLLM does") from error

    def check_same(self) -> None:
        """Refuse a server that is not what it was.

        Raises:
            EmoprobeError: It was started anew with another version or model.
        """
        serves, version = self._choose(self.model)[1], self._version()
        if (serves, version) != (self.serves, self.version):
            raise EmoprobeError(
                f"{self.url} has changed: it served {self.serves} by version {self.version}, and now {serves} by "
                f"{version}. Its answers are not mixed: run into another folder."
            )

    def _get(self, url: str) -> Any:
        return self._send("GET", url)

    def ask_all(self, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The answers to chats, in their order.

        Raises:
            UnansweredError: One of them was refused, or failed again and again.
            EmoprobeError: The server is gone.
        """
        return list(self._pool.map(self.ask, bodies))

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one chat."""
        return self._send("POST", f"{self.url}/chat/completions", {"model": self.model, **body})

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        said, pause = "", FIRST_PAUSE
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(pause)
                pause *= 2
            try:
                response = self._client.request(method, url, json=body)
            except httpx.TimeoutException:
                said = f"no answer within {self._client.timeout.read:g} s"
                continue
            except httpx.HTTPError as error:
                said = f"{type(error).__name__}: {error}"
                continue
            except (httpx.InvalidURL, UnicodeError) as error:
                raise self._no_server(str(error)) from error
            if response.status_code not in AGAIN:
                return self._read(response)
            said = _said(response)
        if body is None or "Connect" in said:
            raise self._no_server(said)
        raise UnansweredError(f"the server did not answer in {self.retries + 1} attempts: {said}")

    def _read(self, response: httpx.Response) -> Any:
        status, said = response.status_code, _said(response)
        if status in (401, 403):
            raise InputError(
                f"{self.url} refuses the key: {said}",
                field="model.api_key",
                remedy="Give it as model.api_key='${oc.env:NAME}'.",
            )
        if status == 404:
            raise self._no_server(said)
        if status >= 400:
            raise UnansweredError(f"the server refuses the request: {said}")
        try:
            return response.json()
        except ValueError as error:
            raise self._no_server(f"it answers in another language than JSON: {said}") from error

    def _no_server(self, said: str) -> InputError:
        return InputError(
            f"there is no server of vLLM's kind at {self.url}: {said}",
            field="model.url",
            remedy="Start one (vllm serve MODEL), and give the address that it prints, with /v1.",
        )


def _said(response: httpx.Response) -> str:
    """Status and first words of an answer that is an error."""
    try:
        found = response.json()
        error = found.get("error", found)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        text = response.text
    return f"{response.status_code} {' '.join(text.split())[:SHOWN]}"
