"""Class names: from what a person writes (index, synset id, name) to a class index. No torch, no network.

`imagenet_classes.tsv` holds facts of ImageNet-1k: index, WordNet synset id, torchvision's name, WordNet's terms, of
which the first is the synset's own.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Self

from suite.errors import DataError, did_you_mean

SYNSET_ID = re.compile(r"n\d{8}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


@dataclass(frozen=True)
class ClassNames:
    """The classes of a network, in the order of its scores.

    Attributes:
        names: one name a class; two classes may share one, which `resolve` then refuses as ambiguous.
        synsets: WordNet ids such as "n01944390", one a class, or None where the classes are not ImageNet's.
        terms: WordNet's terms for each class, the synset's own first, or None.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...] | None = None
    terms: tuple[tuple[str, ...], ...] | None = None

    @classmethod
    @functools.cache
    def imagenet(cls) -> Self:
        """The 1,000 classes of ImageNet-1k in the order of every torchvision and timm network."""
        table = resources.files("suite.core").joinpath("imagenet_classes.tsv").read_text(encoding="utf-8")
        _, synsets, names, terms = zip(*(line.split("\t") for line in table.splitlines()[1:]), strict=True)
        return cls(names, synsets, tuple(tuple(text.split(", ")) for text in terms))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Names from a UTF-8 text file, one a line, in the order of the network's scores.

        Raises:
            DataError: the file cannot be read, is empty, or has an empty line before its last name.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise DataError(
                f"class names {str(path)!r} cannot be read: {reason}; give a text file of one name a line"
            ) from error
        names = tuple(line.strip() for line in text.rstrip().split("\n"))
        if "" in names:
            fault = f"line {names.index('') + 1} is empty" if len(names) > 1 else "it is empty"
            raise DataError(f"class names {str(path)!r}: {fault}; give one name a line, one line a class")
        return cls(names)

    @classmethod
    def indices(cls, k: int) -> Self:
        """K classes known by their index alone, named "0" to "K-1"."""
        if k < 1:
            raise DataError(f"a network needs at least one class, got {k}")
        return cls(tuple(str(index) for index in range(k)))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The name of one class; an index out of range is a DataError."""
        return self.names[self._checked(index)]

    def resolve(self, target: int | str) -> int:
        """The index of the class meant.

        Args:
            target: an index (7 or "7"), a synset id ("n01944390") or a name ("snail"). Names are tried as written, then
                without regard to case and with underscores as spaces, then among WordNet's other terms ("grey wolf").

        Raises:
            DataError: out of range, unknown (the nearest names are given), or several classes bear the name (their
                indices are given).
        """
        if isinstance(target, bool):
            raise DataError(f"{target} is not a class: give an index, a synset id or a name")
        if isinstance(target, int):
            return self._checked(target)
        text = target.strip()
        if _INTEGER.fullmatch(text):
            return self._numbered(text)
        if SYNSET_ID.fullmatch(text) and self.synsets is not None:
            if text not in self.synsets:
                raise DataError(f"{text!r} is not one of the {len(self)} synset ids of this network's classes")
            return self.synsets.index(text)
        exact, folded, any_term = self._tables
        if indices := exact.get(text) or folded.get(_fold(text)) or any_term.get(_fold(text)):
            return self._only(text, indices)
        names = [*self.names, *(term for terms in self.terms or () for term in terms)]
        kinds = "an index, a synset id or a name" if self.synsets is not None else "an index or a name"
        raise DataError(f"{text!r} is not a class: give {kinds}{did_you_mean(text.replace('_', ' '), names)}")

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise DataError(f"class index {index} is out of range 0..{len(self) - 1}")
        return index

    def _numbered(self, text: str) -> int:
        # A class may be called "7" and stand elsewhere than at 7: then nobody can know which is meant.
        named = self._tables[0].get(text, [])
        if named and named != [int(text)]:
            return self._only(text, sorted({*named, *({int(text)} if 0 <= int(text) < len(self) else ())}))
        return self._checked(int(text))

    def _only(self, text: str, indices: Sequence[int]) -> int:
        if len(indices) > 1:
            synsets = [""] * len(self) if self.synsets is None else [f"{synset}, " for synset in self.synsets]
            meant = ", ".join(f"{i} ({synsets[i]}{self.names[i]})" for i in indices)
            raise DataError(f"{text!r} may be any of the classes {meant}: give the index instead")
        return indices[0]

    @functools.cached_property
    def _tables(self) -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, list[int]]]:
        """Indices by name as written, by name folded, and by any term folded."""
        terms = [(term, index) for index, terms in enumerate(self.terms or ()) for term in terms]
        # The synset's own term counts as a name: WordNet calls both 134 and 517 "crane", torchvision only one of them.
        primary = [(terms[0], index) for index, terms in enumerate(self.terms or ())]
        names = [*((name, index) for index, name in enumerate(self.names)), *primary]
        return _index(names), _index(names, _fold), _index(terms, _fold)


def _index(pairs: Iterable[tuple[str, int]], fold: Callable[[str], str] = str) -> dict[str, list[int]]:
    table: defaultdict[str, set[int]] = defaultdict(set)
    for name, index in pairs:
        table[fold(name)].add(index)
    return {name: sorted(indices) for name, indices in table.items()}
