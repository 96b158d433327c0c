"""A small server that speaks the protocol of vLLM 0.33 (chat completions with audio) from a tiny model of transformers.

As vLLM does, it renders the chat itself, tells the tokens that the model was given, answers ``logprob_token_ids`` with
the log-probabilities of exactly these tokens and the written one, at most 128, and writes minus infinity as -9999.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import soundfile
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

VERSION = "0.33.0"


class TinyServer:
    """What a server does with its requests.

    Args:
        folder: The checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()
        self.lock = threading.Lock()
        self.bodies: list[dict] = []
        self.version, self.models = VERSION, {"tiny": str(folder)}
        self.fault: Callable[[str, dict | None], tuple[int, Any] | None] = lambda path, body: None
        self.change: Callable[[dict], dict] = lambda answer: answer

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"version": self.version}
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": name, "root": root} for name, root in self.models.items()]}
        return 404, {"detail": "Not Found"}

    def chat(self, body: dict) -> tuple[int, Any]:
        self.bodies.append(body)
        asked = body.get("logprob_token_ids")
        if asked is not None and len(asked) > 128:
            return 400, {"error": {"message": f"Requested logprob_token_ids of length {len(asked)}"}}
        sounds, messages = [], []
        for message in body["messages"]:
            content = message["content"]
            if not isinstance(content, str):
                sounds += [part["input_audio"]["data"] for part in content if part["type"] == "input_audio"]
                content = [{"type": "audio"} if part["type"] == "input_audio" else part for part in content]
            messages.append({"role": message["role"], "content": content})
        how = {name: body[name] for name in ("add_generation_prompt", "continue_final_message")}
        text = self.processor.apply_chat_template(messages, tokenize=False, **how)
        waveforms = [soundfile.read(io.BytesIO(base64.b64decode(each)), dtype="float32")[0] for each in sounds]
        inputs = self.processor(text=text, audio=waveforms, sampling_rate=16_000, return_tensors="pt")
        with self.lock, torch.no_grad():
            written, told, ended = self._write(dict(inputs), body)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.processor.tokenizer.decode(written)},
            "finish_reason": "stop" if ended else "length",
            "token_ids": written,
            "logprobs": {"content": told} if body.get("logprobs") else None,
        }
        return 200, {
            "model": body["model"],
            "choices": [choice],
            "prompt_token_ids": inputs["input_ids"][0].tolist(),
        }

    def _write(self, inputs: dict, body: dict) -> tuple[list[int], list[dict], bool]:
        ends = self.model.generation_config.eos_token_id
        stops = {*body.get("stop_token_ids", ()), *([ends] if isinstance(ends, int) else ends)}
        generator = torch.Generator().manual_seed(body.get("seed", 0) % 2**63)
        written, told = [], []
        ids = inputs["input_ids"]
        for _ in range(body["max_tokens"]):
            logits = self.model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0, -1]
            logprobs = logits.float().log_softmax(-1)
            default = self.model.generation_config.repetition_penalty or 1.0
            penalty, seen = body.get("repetition_penalty", default), ids[0].unique()
            penalised = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
            logits = logits.index_copy(0, seen, penalised)
            logits[self.model.config.audio_token_index] = -torch.inf  # written, it would ask for another sound
            if body["temperature"]:
                shares = (logits.float() / body["temperature"]).softmax(-1)
                token = int(torch.multinomial(shares, 1, generator=generator))
            else:
                token = int(logits.argmax())
            shown = dict.fromkeys([*(body.get("logprob_token_ids") or ()), token])
            top = [{"token": f"token_id:{i}", "logprob": max(float(logprobs[i]), -9999.0)} for i in shown]
            told.append({"token": f"token_id:{token}", "logprob": float(logprobs[token]), "top_logprobs": top})
            written.append(token)
            if token in stops:
                return written, told, True
            ids = torch.cat([ids, torch.tensor([[token]])], 1)
        return written, told, False


@contextmanager
def serving(server: TinyServer) -> Iterator[str]:
    """The address of the server's API while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(server.fault(self.path, None) or server.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body["authorization"] = self.headers.get("Authorization")
            found = server.fault(self.path, body) or server.chat(body)
            self._answer((found[0], server.change(found[1])) if found[0] == 200 else found)

        def _answer(self, found: tuple[int, Any]) -> None:
            status, value = found
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        http.shutdown()
        http.server_close()
