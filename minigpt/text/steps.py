"""What every step of a pipeline does alike: look at documents one by one, keep or remove them, and count."""
import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .sources import Document

SAMPLES = 5
EXCERPT = 300


@dataclass
class Statistics:
    """What a step saw and did. `a.add(b)` joins those of two slices; the result depends on no order."""

    documents: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    changed: int = 0
    """Documents that were kept with another text."""
    removed: Counter = field(default_factory=Counter)
    """Documents by reason, and in `removed_bytes` their bytes."""
    removed_bytes: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)
    """Whatever else a step counts, such as telephone numbers that were masked."""
    samples: dict[str, list[list[str]]] = field(default_factory=dict)
    """reason -> [hash, id, beginning of the text] of the SAMPLES documents with the smallest hashes of their ids: as
    good as drawn by lot, and the same for any number of workers."""

    def add(self, other: "Statistics") -> None:
        for name in ("documents", "bytes", "kept", "kept_bytes", "changed", "removed", "removed_bytes", "counts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, samples in other.samples.items():
            self.samples[reason] = heapq.nsmallest(SAMPLES, self.samples.get(reason, []) + samples)

    def saw(self, size: int) -> None:
        self.documents += 1
        self.bytes += size

    def remove(self, reason: str, size: int) -> None:
        """Count a document of `size` bytes that has to go and was not counted before."""
        self.saw(size)
        self.removed[reason] += 1
        self.removed_bytes[reason] += size

    def sample(self, reason: str, id: str, text: str) -> None:
        """Remember a document, if it is among the chosen."""
        entry = [hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16], id, text[:EXCERPT]]
        self.samples[reason] = heapq.nsmallest(SAMPLES, [*self.samples.get(reason, ()), entry])

    def to_json(self) -> dict:
        """For a manifest; `Statistics.from_json` reads it."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, fields: dict) -> "Statistics":
        return cls(**fields | {name: Counter(fields[name]) for name in ("removed", "removed_bytes", "counts")})


def filtered(
    documents: Iterable[Document], judge: Callable[[Document], Document | str], statistics: Statistics
) -> Iterator[Document]:
    """The documents that `judge` keeps. It returns the document, changed or not, or the reason why it has to go."""
    for document in documents:
        size = len(document.text.encode("utf-8", "surrogatepass"))
        verdict = judge(document)
        if isinstance(verdict, str):
            statistics.remove(verdict, size)
            statistics.sample(verdict, document.id, document.text)
            continue
        statistics.saw(size)
        statistics.kept += 1
        if verdict.text != document.text:
            statistics.changed += 1
            size = len(verdict.text.encode("utf-8", "surrogatepass"))
        statistics.kept_bytes += size
        yield verdict
