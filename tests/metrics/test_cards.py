"""Cards are read from source, say all there is to say, and a faulty one is one clear line."""

import subprocess
import sys

import pytest

from suite.errors import ConfigError
from suite.metrics import cards as module
from suite.metrics.cards import PLACEBOS, Card, cards, measured


def test_every_card_says_what_and_which_way_is_better():
    assert len(cards()) == 21
    for name, card in cards().items():
        assert card.better in ("higher", "lower")
        assert card.says.endswith("."), name
        assert card.family
        assert card.asked
        assert card.paper
        assert card.cost
        assert card.undefined, "a row without a value needs a reason"
        assert set(PLACEBOS) <= set(card.controls)
        assert any(metric.name == name for asked in card.asked for metric in measured(asked, card.takes))


def test_cards_need_no_torch():
    code = "import sys; from suite.metrics.cards import cards; cards(); print({'torch', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"better": "more"}, "better is 'more'"), ({"takes": "map"}, "takes is 'map'"),
        ({"takes": "everything"}, "asked is"), ({"asked": ("fidelity",)}, "expected a tuple of one of complexity"),
        ({"takes": "outputs", "asked": ("deletion", "insertion")}, "asked is"),
    ],
)  # fmt: skip
def test_a_card_that_means_nothing_is_refused(wrong, words):
    fields = {"takes": "magnitude", "better": "higher", "span": "[0, 1]", "paper": "-"}
    with pytest.raises(ValueError, match=words):
        Card(**fields | wrong)


SOURCE = """
from suite.metrics.cards import Card

SPAN = "[0, 1]"


@Card(takes="magnitude", better="higher", span=SPAN, paper="-")
def named(a):
    \"\"\"Says.\"\"\"


@Card(takes="magnitude", better="higher")
def short(a):
    \"\"\"Says.\"\"\"


def plain(a):
    \"\"\"No card.\"\"\"
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [("named", "not to be read"), ("short", "missing 2 required"), ("absent", "no function of that name")],
)
def test_a_card_that_cannot_be_read_is_one_line(tmp_path, monkeypatch, function, words):
    (tmp_path / "cards_of_somebody.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=rf"metric 'mine' \(cards_of_somebody:{function}\): .*{words}"):
        module._card("mine", f"cards_of_somebody:{function}")
    assert module._card("mine", "cards_of_somebody:plain") is None
