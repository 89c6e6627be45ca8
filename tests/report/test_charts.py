"""Marks stand where the axis says, by arithmetic that a person can redo."""

import pytest

from selma.report.charts import GAP, LABELS, RIGHT, ROW, WIDTH, Chart, Mark, curve_points


def chart(value, low, high, **how):
    return Chart({"all": [Mark("m0", "", value, low, high)]}, 1, **how)


def test_positions_of_bar_and_whisker_by_hand():
    # values 0 to 100: 440 − 112 − 16 = 312 px for 100, from x = 112
    found = chart(50.0, 25.0, 100.0, bars=True)
    assert [found.x(value) for value in (0.0, 25.0, 50.0, 100.0)] == [112.0, 190.0, 268.0, 424.0]
    assert found.axis.ticks() == [
        (112.0, "0"), (190.0, "25"), (268.0, "50"), (346.0, "75"), (424.0, "100")
    ]  # fmt: skip
    assert (WIDTH, LABELS, RIGHT) == (440, 112, 16)


def test_an_interval_around_zero_by_hand():
    # −1 to 3 in steps of 1: 312 px for 4
    found = chart(1.0, -1.0, 3.0, zero=True)
    assert [found.x(value) for value in (-1.0, 0.0, 1.0, 3.0)] == [112.0, 190.0, 268.0, 424.0]
    assert [text for _, text in found.axis.ticks()] == ["−1", "0", "1", "2", "3"]


def test_an_axis_holds_zero_only_if_it_is_asked_to():
    assert chart(11.0, 10.0, 12.0).axis.first > 0
    assert chart(11.0, 10.0, 12.0, zero=True).x(0) == 112.0
    assert chart(11.0, 10.0, 12.0, bars=True).x(0) == 112.0


def test_steps_of_a_quarter_have_two_decimals():
    ticks = chart(0.5, 0.0, 1.0, zero=True).axis.ticks()
    assert [text for _, text in ticks] == ["0.00", "0.25", "0.50", "0.75", "1.00"]


@pytest.mark.parametrize(("high", "step"), [(4.0, 1), (8.0, 2), (10.0, 2.5), (20.0, 5), (40.0, 10)])
def test_an_axis_has_at_most_four_round_steps(high, step):
    assert chart(high / 2, 0.0, high, zero=True).axis.step == step


def test_groups_stand_below_each_other():
    one = Mark("", "", 1.0, 0.0, 2.0)
    found = Chart({"a": [one, one, one], "b": [one]}, 3)
    assert [found.y(0, 0), found.y(0, 2), found.y(1, 1)] == [4, 4 + 2 * ROW, 4 + 4 * ROW + GAP]
    assert found.bottom == 4 + 6 * ROW + 1.5 * GAP


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (-0.0012, -0.0013, -0.001), (2e3, 1e3, 3e3)])
def test_a_chart_of_any_magnitude_keeps_its_marks_inside(values):
    found = chart(*values, zero=True)
    places = [*map(found.x, values), *(x for x, _ in found.axis.ticks())]
    assert all(LABELS - 1e-6 <= place <= WIDTH - RIGHT + 1e-6 for place in places)


def test_a_long_label_widens_the_column_of_labels_and_leaves_the_axis_its_length():
    mark = Mark("", "", 1.0, 0.0, 2.0)
    found = Chart({"a": [mark], "b" * 40: [mark]}, 1)
    # 40 letters of 6.5 px, 10 px on each side
    assert (found.left, found.label_end, found.width) == (280, 270, 440 + 168)
    assert (found.x(0), found.x(2)) == (280, 280 + 312)
    short = Chart({"a": [mark], "b" * 14: [mark]}, 1)
    assert (short.left, short.width) == (LABELS, WIDTH)


def test_a_loss_curve_by_hand():
    # 168 px for the steps from x = 44; 112 px for 0.6 to 0.3 from y = 8
    assert curve_points([(10, 0.5), (20, 0.4)], 0.3, 0.6) == "128.0,45.3 212.0,82.7"
    assert curve_points([(0, 0.5)], 0.5, 0.5) == "44.0,8.0"


@pytest.mark.parametrize("high", [0.9, 9, 90, 1.0, 10, 25, 0.025])
def test_what_is_written_below_an_axis_is_where_it_says(high):
    chart = Chart({"all": [Mark("m0", "", high / 2, 0.0, high)]}, 1, zero=True)
    for place, text in chart.axis.ticks():
        assert chart.x(float(text.replace("−", "-"))) == pytest.approx(place)
    assert len({len(text.partition(".")[2]) for _, text in chart.axis.ticks()}) == 1
    digits = len(text.partition(".")[2])
    assert not digits or any(not text.endswith("0") for _, text in chart.axis.ticks())
