"""Marks stand where the axis says, by arithmetic that a person can redo."""

import pytest

from selma.report.charts import GAP, LABELS, RIGHT, ROW, WIDTH, Mark, chart, curve_charts


def mark(value, low, high):
    return Mark("m0", "", value, low, high)


def test_positions_of_bar_and_whisker_by_hand():
    # values 0 to 100: 440 − 112 − 16 = 312 px for 100, from x = 112
    found = chart({"count": [mark(50.0, 25.0, 100.0)]}, 1, bars=True)
    (placed,) = found.marks
    assert (placed.start, placed.x) == (112.0, 112 + 156.0)
    assert (placed.low, placed.high) == (112 + 78.0, 112 + 312.0)
    assert found.ticks == [
        (112.0, "0"), (190.0, "25"), (268.0, "50"), (346.0, "75"), (424.0, "100")
    ]  # fmt: skip
    assert found.zero == 112.0
    assert (WIDTH, LABELS, RIGHT) == (440, 112, 16)


def test_an_interval_around_zero_by_hand():
    # −1 to 3 in steps of 1: 312 px for 4
    found = chart({"all": [mark(1.0, -1.0, 3.0)]}, 1, zero=True)
    (placed,) = found.marks
    assert (placed.low, placed.x, placed.high) == (112.0, 268.0, 424.0)
    assert (found.zero, placed.start) == (112 + 78.0, None)
    assert [text for _, text in found.ticks] == ["−1", "0", "1", "2", "3"]


def test_an_axis_holds_zero_only_if_it_is_asked_to():
    assert chart({"all": [mark(11.0, 10.0, 12.0)]}, 1).zero is None
    assert chart({"all": [mark(11.0, 10.0, 12.0)]}, 1, zero=True).zero == 112.0


def test_steps_of_a_quarter_have_two_decimals():
    ticks = chart({"all": [mark(0.5, 0.0, 1.0)]}, 1, zero=True).ticks
    assert [text for _, text in ticks] == ["0.00", "0.25", "0.50", "0.75", "1.00"]


def test_groups_stand_below_each_other_and_short_ones_in_the_middle():
    one = mark(1.0, 0.0, 2.0)
    found = chart({"a": [one, one, one], "b": [one]}, 3)
    assert [placed.y for placed in found.marks] == [4.0, 4.0 + ROW, 4.0 + 2 * ROW,
                                                    4.0 + 4 * ROW + GAP]  # fmt: skip
    assert [text for _, text in found.labels] == ["a", "b"]
    first, second = (y for y, _ in found.labels)
    assert second - first == 3 * ROW + GAP


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (-0.0012, -0.0013, -0.001), (2e3, 1e3, 3e3)])
def test_a_chart_of_any_magnitude_keeps_its_marks_inside(values):
    found = chart({"all": [mark(*values)]}, 1, zero=True)
    (placed,) = found.marks
    places = [placed.x, placed.low, placed.high, *(x for x, _ in found.ticks)]
    assert all(LABELS - 1e-6 <= place <= WIDTH - RIGHT + 1e-6 for place in places)


def test_loss_curves_share_one_scale_and_have_their_own_steps():
    found = curve_charts({"a": [(10, 0.5), (20, 0.4)], "none": [], "b": [(0, 0.6), (40, 0.3)]})
    # 168 px for the steps from x = 44; 112 px for 0.6 to 0.3 from y = 8
    assert [(curve.name, curve.steps, curve.low, curve.high) for curve in found] == [
        ("a", 20, 0.3, 0.6), ("b", 40, 0.3, 0.6)
    ]  # fmt: skip
    assert found[0].points == "128.0,45.3 212.0,82.7"
    assert found[1].points == "44.0,8.0 212.0,120.0"


def test_a_flat_curve_of_one_point_can_be_drawn():
    assert curve_charts({"a": [(0, 0.5)]})[0].points == "44.0,8.0"
    assert curve_charts({}) == []
