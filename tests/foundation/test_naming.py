"""What a scorer learns to name, by a scene that can be read by hand."""

import numpy as np
import pytest

from selma.foundation.naming import (
    FACTS_WEIGHT,
    PAIRS,
    SHAPES,
    build_heads,
    label_scenes,
    naming_loss,
)
from selma.pocket.captions import Description, Group, Link
from selma.pocket.scenes import COLOURS, RELATIONS, Scene, SceneObject

CIRCLE, STAR = SHAPES.index("circle"), SHAPES.index("star")
RED, BLUE = list(COLOURS).index("red"), list(COLOURS).index("blue")
SCENE = Scene(
    "white",
    (
        SceneObject("circle", "red", "large", 16.0, 12.0),
        SceneObject("star", "blue", "small", 8.0, 26.0),
        SceneObject("star", "blue", "small", 24.0, 26.0),
    ),
)
TOLD = Description(
    (Group("star", "blue"), Group("circle", "red"), Group("cross", "pink")),
    (Link(0, "left of", 1), Link(1, "above", 2)),
)


def test_the_patches_inside_an_object_name_its_shape_colour_and_size():
    labels = label_scenes([(TOLD, SCENE)]).patches[0]
    assert labels[3, 4].tolist() == labels[2, 3].tolist() == [CIRCLE, RED, 1]
    assert labels[6, 2].tolist() == [STAR, BLUE, 0]
    assert (labels[0] == -1).all()


def test_each_shape_has_its_colour_and_its_mean_centre():
    labels = label_scenes([(TOLD, SCENE)])
    assert labels.colours[0, CIRCLE] == RED + 1
    assert labels.colours[0, STAR] == BLUE + 1
    assert labels.centres[0, CIRCLE].tolist() == [0.0, -0.25]
    assert labels.centres[0, STAR].tolist() == [0.0, 0.625]
    assert np.count_nonzero(labels.colours) == 2


def test_a_relation_is_told_of_two_shapes_in_their_order():
    labels = label_scenes([(TOLD, SCENE)]).relations[0]
    assert ("circle", "star") in PAIRS and ("star", "circle") not in PAIRS
    assert RELATIONS[labels[PAIRS.index(("circle", "star"))]] == "right of"
    other = ("circle", "cross") if ("circle", "cross") in PAIRS else ("cross", "circle")
    expected = "above" if other[0] == "circle" else "below"
    assert RELATIONS[labels[PAIRS.index(other)]] == expected
    assert (labels >= 0).sum() == 2


def test_heads_that_know_nothing_lose_the_entropy_of_even_guesses():
    import torch

    heads = build_heads(4, 6)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.zero_()
        features = torch.ones(1, 6)
        labels = label_scenes([(TOLD, SCENE)])
        loss = naming_loss(heads, torch.ones(1, 64, 4), features, features, labels)
    facts = np.log(9) + (0.25**2 + 0.625**2) / 4 + 2 * 2 * np.log(4)  # two relations, told twice
    assert float(loss) == pytest.approx(np.log([8, 8, 2]).sum() + FACTS_WEIGHT * facts, rel=1e-5)
