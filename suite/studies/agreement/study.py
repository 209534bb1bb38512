"""Agreement: is this implementation right? Handwritten against the reference, per image, to the bit where possible."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from suite.attribution.base import Attribution, SampledPass
from suite.attribution.fused import attribute_each
from suite.attribution.gradient import Gradient
from suite.config import RunConfig
from suite.core.passes import Cost, resolve_layer
from suite.core.rectifiers import RectifierReport, rectifier_report
from suite.errors import NotApplicable, as_suite_error
from suite.metrics.similarity import max_abs_difference, relative_l2, spearman
from suite.reference.captum import Counterpart, LibraryDraws, counterpart
from suite.results.schema import Keys
from suite.studies.base import Outcome, Rows, Study, Work, drawable, finite

_OFF_CPU = 1e-3  # relative L2; kernels off the CPU choose their own order of summation
_UNPROMISED = 1e-6  # relative L2 of what would count as agreeing where Captum is known to part


def _promise(reference: Counterpart, survey: RectifierReport, device: torch.device) -> tuple[float, str]:
    """The tolerance, 0 for equality to the bit, and the reason for it."""
    if reference.guided and survey.why_captum_deviates():
        return _UNPROMISED, survey.why_captum_deviates()
    if not reference.exact:
        return reference.tolerance, reference.reason
    if device.type != "cpu":
        return _OFF_CPU, f"equality to the bit is promised on a CPU, this ran on {device.type}"
    return 0.0, ""


class Agreement(Study):
    """Rows `bit_equal` or `within_tolerance`, and how far the two maps are apart."""

    name: ClassVar[str] = "agreement"
    keys: ClassVar[Keys] = {"implementation": str, "layer": str}

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        total = Cost()
        for method in methods.values():
            if reference := counterpart(method):  # the library's calls, and our own on the library's stream
                total = sum([method.cost()] * (1 + reference.random), total)
        return total

    def run(self, work: Work) -> Outcome:
        rows: Rows = []
        arrays = {i: work.picture_of(i) for i in work.plotted}
        survey = rectifier_report(work.model, work.images)
        for label, method in work.methods.items():
            reference = counterpart(method)
            if reference is None:
                rows += self._without_reference(work, label)
                continue
            fields = {"implementation": "captum", "layer": _layer_used(work, method)}
            try:
                own, maps = self._pair(work, label, reference)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # Captum raises what it likes; the other methods are compared all the same
                why = as_suite_error(f"Captum's {label!r}", error)
                if isinstance(why, NotApplicable):
                    why = NotApplicable(f"{why}{self._silent_gradient(work, method, reference)}")
                rows += work.unavailable_rows(self.name, label, "bit_equal", why, **fields)
                continue
            rows += self._compare(work, label, own, maps, _promise(reference, survey, work.images.device), fields)
            for i, picture in arrays.items():
                picture[f"captum|{label}"] = drawable(maps[i])
                picture[f"difference|{label}"] = drawable((own - maps)[i].abs().amax(0, keepdim=True))
        if work.config.memory_format == "channels_last":
            rows += self._beside_contiguous(work)
        return Outcome(rows, {work.stem(i): picture for i, picture in arrays.items()})

    def _without_reference(self, work: Work, label: str) -> Rows:
        """A method of the user's own that fails must not do so in silence."""
        why = work.maps[label]
        if isinstance(why, Tensor):
            if work.methods[label].control:
                return []
            why = NotApplicable("no reference has this method; `suite verify` compares it with one you name")
        return work.unavailable_rows(self.name, label, "map", why, implementation="own")

    def _beside_contiguous(self, work: Work) -> Rows:
        """How far each map is from that of the usual memory format, whose rounding flips other rectifiers."""
        try:
            work.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            images = work.images.contiguous(memory_format=torch.contiguous_format)
            usual = attribute_each(work.model, images, work.targets, work.methods, ids=work.ids)
        finally:
            work.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rows: Rows = []
        fields = {"implementation": "contiguous", "undefined": "the map of the usual memory format is zero everywhere"}
        for label, maps in work.maps.items():
            if isinstance(maps, Tensor) and isinstance(other := usual[label], Tensor):
                rows += work.rows(self.name, label, "relative_l2", finite(relative_l2(maps, other)), **fields)
        return rows

    def _pair(self, work: Work, label: str, reference: Counterpart) -> tuple[Tensor, Tensor]:
        """Our maps and the reference's, of the same random draws."""
        method = work.methods[label]
        own = work.maps[label]
        if reference.random and isinstance(method, SampledPass):
            draws = LibraryDraws(work.images, whole=getattr(method, "samples", None) if reference.whole else None)
            own = method.compute(work.model, work.images, work.targets, draws)
        if not isinstance(own, Tensor):
            raise own
        return own, reference(method, work.model, work.images, work.targets)

    def _compare(
        self, work: Work, label: str, own: Tensor, maps: Tensor, promise: tuple[float, str], fields: dict[str, str]
    ) -> Rows:
        distance, (tolerance, reason) = relative_l2(own, maps), promise
        if tolerance:
            metric, agrees = "within_tolerance", (distance <= tolerance).tolist()
            fields = fields | {"message": f"tolerance {tolerance:g} (relative L2): {reason}"}
        else:
            metric, agrees = "bit_equal", [torch.equal(a, b) for a, b in zip(own, maps, strict=True)]
        rows = work.rows(self.name, label, metric, agrees, **fields)
        gap = max_abs_difference(own, maps)
        rows += work.rows(self.name, label, "max_abs_difference", gap, unit="map unit", **fields)
        zero = "Captum's map is zero everywhere"
        rows += work.rows(self.name, label, "relative_l2", finite(distance), undefined=zero, **fields)
        constant = "one of the maps is constant, so ranks do not correlate"
        return rows + work.rows(self.name, label, "spearman", spearman(own, maps), undefined=constant, **fields)

    def _silent_gradient(self, work: Work, method: Attribution, reference: Counterpart) -> str:
        """Where a guided method is undefined: what Captum returns all the same."""
        if not reference.guided or method.layer_asked is not None:
            return ""
        plain = Gradient()(work.model, work.images, work.targets)
        apart = float(relative_l2(reference(method, work.model, work.images, work.targets), plain).max())
        if apart == 0:
            return "; Captum differs, because it returns the plain gradient without a word"
        return f"; Captum differs: it returns a map all the same, {apart:.2g} (relative L2) from the plain gradient"


def _layer_used(work: Work, method: Attribution) -> str:
    layer = method.layer_asked
    if layer is None:
        return ""
    try:
        return resolve_layer(work.model, work.images, layer)
    except NotApplicable:  # no layer gives a map: the method's own rows say so
        return ""


STUDY = Agreement()
