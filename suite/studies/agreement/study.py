"""Agreement: is this implementation right? Handwritten against the reference, per image, to the bit where possible."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.attribution.base import Attribution, SampledPass
from suite.attribution.fused import attribute_each
from suite.attribution.gradient import Gradient
from suite.config import RunConfig
from suite.core.passes import Cost, resolve_layer
from suite.core.rectifiers import RectifierReport, rectifier_report
from suite.errors import NotApplicable, SuiteError
from suite.metrics.similarity import max_abs_difference, relative_l2, spearman
from suite.reference.captum import Counterpart, LibraryDraws, counterpart
from suite.studies.base import Outcome, Rows, Study, Work, as_suite_error, drawable, finite

_OFF_CPU = 1e-3  # relative L2; kernels off the CPU choose their own order of summation
_UNPROMISED = 1e-6  # relative L2 of what would count as agreeing where Captum is known to part


@dataclass(frozen=True)
class _Promise:
    """What is claimed of one comparison: to the bit, or within a tolerance for a reason."""

    exact: bool
    tolerance: float
    reason: str


def _promise(known: Counterpart, survey: RectifierReport, device: torch.device) -> _Promise:
    if known.guided and survey.why_captum_deviates():
        return _Promise(False, _UNPROMISED, survey.why_captum_deviates())
    if not known.exact:
        return _Promise(False, known.tolerance, known.reason)
    if device.type != "cpu":
        return _Promise(False, _OFF_CPU, f"equality to the bit is promised on a CPU, this ran on {device.type}")
    return _Promise(True, 0.0, "")


class Agreement(Study):
    """Rows `bit_equal` or `within_tolerance`, and how far the two maps are apart."""

    name: ClassVar[str] = "agreement"

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        known = [(method, found) for method in methods.values() if (found := counterpart(method))]
        # the library's calls, and our own on the library's stream
        return sum((method.cost() for method, found in known for _ in range(1 + found.random)), Cost())

    def run(self, work: Work) -> Outcome:
        rows: Rows = []
        arrays = {i: work.picture_of(i) for i in work.plotted}
        survey = rectifier_report(work.model, work.images)
        for label, method in work.methods.items():
            known = counterpart(method)
            if known is None:
                why: object = work.maps[label]  # a method of the user's own that fails must not do so in silence
                if isinstance(why, Tensor) and not method.control:
                    why = NotApplicable("no reference has this method; `suite verify` compares it with one you name")
                if isinstance(why, SuiteError):
                    rows += work.unavailable_rows(self.name, label, "map", why, implementation="own")
                continue
            layer = _layer_used(work, method)
            place = {"implementation": "captum", "layer": layer}
            try:
                own, theirs = self._pair(work, label, method, known)
            except NotApplicable as why:
                reason = NotApplicable(f"{why}{self._silent_gradient(work, method, known)}")
                rows += work.unavailable_rows(self.name, label, "bit_equal", reason, **place)
                continue
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # Captum raises what it likes; the other methods are compared all the same
                rows += work.unavailable_rows(
                    self.name, label, "bit_equal", as_suite_error(f"Captum's {label!r}", error), **place
                )
                continue
            rows += self._compare(work, label, own, theirs, _promise(known, survey, work.images.device), place)
            for i, picture in arrays.items():
                picture[f"captum|{label}"] = drawable(theirs[i])
                picture[f"difference|{label}"] = drawable((own - theirs)[i].abs().amax(0, keepdim=True))
        if work.config.memory_format == "channels_last":
            rows += self._beside_contiguous(work)
        return Outcome(rows, {work.stem(i): picture for i, picture in arrays.items()})

    def _beside_contiguous(self, work: Work) -> Rows:
        """How far each map is from that of the usual memory format, whose rounding flips other rectifiers."""
        try:
            work.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            images = work.images.contiguous(memory_format=torch.contiguous_format)
            usual = attribute_each(work.model, images, work.targets, work.methods, ids=work.ids)
        finally:
            work.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rows: Rows = []
        place = {"implementation": "contiguous", "undefined": "the map of the usual memory format is zero everywhere"}
        for label, found in work.maps.items():
            if isinstance(found, Tensor) and isinstance(other := usual[label], Tensor):
                rows += work.rows(self.name, label, "relative_l2", finite(relative_l2(found, other)), **place)
        return rows

    def _pair(self, work: Work, label: str, method: Attribution, known: Counterpart) -> tuple[Tensor, Tensor]:
        if known.random and isinstance(method, SampledPass):
            whole = getattr(method, "samples", None) if known.whole else None
            draws = LibraryDraws(work.images, whole=whole)
            own: Tensor | SuiteError = method.compute(work.model, work.images, work.targets, draws)
        else:
            own = work.maps[label]
        if not isinstance(own, Tensor):
            raise own
        return own, known(method, work.model, work.images, work.targets)

    def _compare(
        self, work: Work, label: str, own: Tensor, theirs: Tensor, promise: _Promise, place: dict[str, str]
    ) -> Rows:
        distance = relative_l2(own, theirs)
        if promise.exact:
            metric, agrees = "bit_equal", [torch.equal(a, b) for a, b in zip(own, theirs, strict=True)]
        else:
            metric, agrees = "within_tolerance", (distance <= promise.tolerance).tolist()
            place = place | {"message": f"tolerance {promise.tolerance:g} (relative L2): {promise.reason}"}
        rows = work.rows(self.name, label, metric, agrees, **place)
        gap = max_abs_difference(own, theirs)
        rows += work.rows(self.name, label, "max_abs_difference", gap, unit="map unit", **place)
        zero = "Captum's map is zero everywhere"
        rows += work.rows(self.name, label, "relative_l2", finite(distance), undefined=zero, **place)
        constant = "one of the maps is constant, so ranks do not correlate"
        return rows + work.rows(self.name, label, "spearman", spearman(own, theirs), undefined=constant, **place)

    def _silent_gradient(self, work: Work, method: Attribution, known: Counterpart) -> str:
        """Where a guided method is undefined: what Captum returns all the same."""
        if not known.guided or method.layer_asked is not None:
            return ""
        theirs = known(method, work.model, work.images, work.targets)
        plain = Gradient()(work.model, work.images, work.targets)
        apart = float(relative_l2(theirs, plain).max())
        if apart == 0:
            return "; Captum differs, because it returns the plain gradient without a word"
        return f"; Captum differs: it returns a map all the same, {apart:.2g} (relative L2) from the plain gradient"


def _layer_used(work: Work, method: Attribution) -> str:
    asked = method.layer_asked
    if asked is None:
        return ""
    try:
        return resolve_layer(work.model, work.images, asked)
    except NotApplicable:  # no layer gives a map: the method's own rows say so
        return ""


STUDY = Agreement()
