"""Curves of what ways reach at what cost stand where their axes say."""

import re
import xml.etree.ElementTree as ElementTree

from selma.report.curves import Point, render_curves

CURVES = {
    "one <sample>": [Point("one", 25.0, 20.0, 10.0, 30.0)],
    "best of K": [Point("one", 25.0, 20.0, 10.0, 30.0), Point("four", 100.0, 40.0, 40.0, 40.0)],
}
FIGURE = render_curves(
    {"all": CURVES, "spatial": CURVES}, title="a < b", cost="evaluations", value="passes, %"
)


def test_a_figure_is_an_svg_that_stands_alone_and_escapes_its_text():
    root = ElementTree.fromstring(FIGURE)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root[0].text == "a < b" and "one &lt;sample&gt;" in FIGURE
    assert root.attrib["viewBox"] == "0 0 720 208"  # two panels of a row of three


def test_points_whiskers_and_lines_by_hand():
    """0 to 100 evaluations from x = 36 to 228, 0 to 40 % from y = 160 up to 24."""
    places = re.findall(r'<circle class="m2" cx="([\d.]+)" cy="([\d.]+)" r="3.5"', FIGURE)
    assert places == [("84.0", "92.0"), ("228.0", "24.0")] * 2
    assert FIGURE.count('points="84.0,92.0 228.0,24.0 "') == 2
    assert FIGURE.count('x1="84.0" y1="126.0" x2="84.0" y2="58.0"') == 4  # 10 to 30, two curves
    assert "four: 40.0 [40.0, 40.0] at 100" in FIGURE


def test_panels_stand_side_by_side_then_below():
    five = render_curves({str(n): CURVES for n in range(5)}, title="", cost="", value="")
    places = re.findall(r"translate\((\d+) (\d+)\)", five)
    assert places == [("0", "18"), ("240", "18"), ("480", "18"), ("0", "208"), ("240", "208")]


def test_the_same_figure_is_the_same_text():
    again = render_curves(
        {"all": CURVES, "spatial": CURVES}, title="a < b", cost="evaluations", value="passes, %"
    )
    assert again == FIGURE
