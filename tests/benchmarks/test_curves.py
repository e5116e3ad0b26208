"""Curves show every value inside the picture, higher where it took longer."""

from xml.etree import ElementTree

import pytest
from benchmarks.stores.curves import Curve, Line, draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lines: Line, counts: list[int]) -> ElementTree.Element:
    curve = Curve(title="Time <by> depth", across="messages", counts=counts, lines=list(lines))
    return ElementTree.fromstring(draw_curves("Nuska & a store", [curve, curve]))


def heights(root: ElementTree.Element) -> list[float]:
    return [float(circle.attrib["cy"]) for circle in root.iter(f"{SVG}circle")]


def test_what_takes_longer_stands_higher() -> None:
    root = drawn(Line("post", [1.0, 1.5, 1.2]), counts=[100, 10_000, 1_000_000])
    first, second, third = heights(root)[:3]
    assert second < third < first


def test_counts_stand_at_logarithmic_distances_and_are_named() -> None:
    root = drawn(Line("post", [1.0] * 3), counts=[100, 10_000, 1_000_000])
    one, two, three = [float(circle.attrib["cx"]) for circle in root.iter(f"{SVG}circle")][:3]
    assert two - one == pytest.approx(three - two, abs=0.2)
    assert {"10²", "10⁴", "10⁶"} <= {text.text for text in root.iter(f"{SVG}text")}


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.004, 12_345.0], [3.0, 3.0]])
def test_nothing_drawn_leaves_the_picture(values: list[float]) -> None:
    root = drawn(Line("post", values), counts=[10, 100_000])
    _x, _y, width, height = map(float, root.attrib["viewBox"].split())
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height


def test_names_of_lines_that_end_together_do_not_cover_one_another() -> None:
    root = drawn(Line("post", [1.0, 2.0]), Line("list", [1.0, 2.0]), counts=[10, 100])
    named = [text for text in root.iter(f"{SVG}text") if text.text in ("post", "list")]
    assert abs(float(named[0].attrib["y"]) - float(named[1].attrib["y"])) >= 12
