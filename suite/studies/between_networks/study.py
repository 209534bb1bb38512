"""Between networks: do two networks look at the same places of a photo?"""

from typing import ClassVar, cast

from suite.errors import NotApplicable, SuiteError
from suite.results.schema import Keys
from suite.studies.base import Outcome, Rows, Study, Work


class BetweenNetworks(Study):
    """The comparison's measures, of every method's maps on this network (`model`) and on another (`other_model`).

    Each network's items cover all other networks, so no pair is missing if a network becomes available later. Each
    network explains its own top class of a photo without a label.
    """

    name: ClassVar[str] = "between_networks"
    keys: ClassVar[Keys] = {"other_model": str, "pairing": str}

    def run(self, work: Work) -> Outcome:
        rows: Rows = []
        for other in work.others:
            name = other.model.card.name
            for label in work.methods:
                missing = [w.maps[label] for w in (work, other) if label not in w.comparable]
                if missing:
                    why = cast(SuiteError, missing[0])
                    fields = {"other_model": name, "pairing": "same_photo"}
                    rows += work.unavailable_rows(self.name, label, "spearman", why, **fields)
                    continue
                for pairing, partner in work.pairings().items():
                    for metric, values, undefined in work.comparable[label].compare(other.comparable[label], partner):
                        fields = {"other_model": name, "pairing": pairing, "undefined": undefined}
                        rows += work.rows(self.name, label, metric, values, **fields)
        compared = {work.model.card.name, *(other.model.card.name for other in work.others)}
        for title in (part.title for part in work.config.models if part.title not in compared):
            apart = NotApplicable(f"{title} takes photos at another size, or could not be had")
            rows += work.unavailable_rows(self.name, "", "spearman", apart, other_model=title, pairing="same_photo")
        return Outcome(rows)


STUDY = BetweenNetworks()
