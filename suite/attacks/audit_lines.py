"""The audit's lines: what each number is, how large it may be, and who asks for it. No torch; the report judges by it.

Sources: C, Carlini et al. 2019, On Evaluating Adversarial Robustness; A, AutoAttack's checks (Croce and Hein 2020); I,
Pintor et al. 2022, Indicators of Attack Failure; S, the suite's own. The list is neither necessary nor sufficient (C).
"""

from dataclasses import dataclass

SCOPE = (
    "White-box attacks only, in one norm at a time, on the photos of one chunk. Not tested: defences that change with "
    "each query, transfer from networks that are not in the run, decision-based attacks, perturbations outside the "
    "norms (rotation, colour, patches), and whether a stronger attack exists. The list is neither necessary nor "
    "sufficient (Carlini et al. 2019)."
)


@dataclass(frozen=True)
class Line:
    """One question of the audit.

    Attributes:
        title: in the table.
        number: what is measured.
        limit: the most it may be.
        source: see above.
        mild: beyond the limit is a warning rather than a failure.
    """

    title: str
    number: str
    limit: float
    source: str
    mild: bool = False

    def verdict(self, value: float) -> str:
        """Pass, warn or fail."""
        return "pass" if value <= self.limit else "warn" if self.mild else "fail"


LINES: dict[str, Line] = {
    "box_and_ball": Line("inside box and ball", "most that a pixel or norm exceeds its bound", 2e-6, "C"),
    "saved_ball": Line("inside the ball as saved", "excess of the norm after rounding to 8 bits", 2e-6, "C", mild=True),
    "deterministic": Line("same scores each time", "distance of unit scores over five forwards", 1e-4, "A"),
    "logits": Line("scores, not probabilities", "share of networks' outputs that are probabilities", 0, "A"),
    "state": Line("network left as it was", "training flags, buffers and .grad changed", 0, "S"),
    "batch_invariance": Line("alone as in the batch", "largest relative difference of scores", 1e-4, "S"),
    "zero_gradient": Line("gradients are there", "share of photos whose gradient is zero everywhere", 0, "A, I"),
    "saturation": Line("loss not saturated", "share of photos with cross entropy below 1e-6", 0, "I", mild=True),
    "real_gradient": Line("gradient is the slope", "share of photos off by over 5% of a central difference", 0.05, "I"),
    "unstable": Line("stable under noise", "mean relative change of the loss under noise of 4/255", 1, "I", mild=True),
    "epsilon_zero": Line("epsilon 0 changes nothing", "photos that change or verdicts that differ", 0, "S"),
    "iterated": Line("many steps beat one", "success of FGSM above that of PGD", 0, "C"),
    "monotone": Line("more epsilon, more success", "largest fall of success, less one photo", 0, "C"),
    "unbounded": Line("without a bound all fall", "photos still right at epsilon 1", 0, "C, I"),
    "converged": Line("enough steps", "success gained by twice the steps", 0.01, "C", mild=True),
    "restarts": Line("enough restarts", "success gained by twice the restarts", 0.005, "C", mild=True),
    "silent": Line("no success thrown away", "share fooled on the way but not as returned", 0, "I"),
    "noise": Line("better than noise", "success of ten random draws above the attack's", 0, "C"),
    "black_box": Line("better than a black box", "share of survivors that random search fools", 0.002, "C, A"),
    "losses": Line("losses agree", "success gained by the other of margin and cross entropy", 0.02, "A", mild=True),
    "targeted": Line("targets are harder", "targeted success above untargeted", 0, "C"),
    "quantised": Line("survives 8 bits", "share of successes lost when saved as PNG", 0.05, "S", mild=True),
    "control_linear": Line("control: linear network", "relative error of the minimal epsilon, worst", 0.01, "S"),
    "control_constant": Line("control: constant scores", "1 where the zero gradient went unnoticed", 0, "S"),
    "control_quantised": Line("control: input in 16 levels", "1 where the false gradient went unnoticed", 0, "S"),
    "control_saturated": Line("control: softmax saturated", "1 where the lost gradient went unnoticed", 0, "S"),
    "control_dropout": Line("control: dropout left on", "1 where the random scores went unnoticed", 0, "S"),
}
