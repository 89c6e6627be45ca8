"""The published demo's layouts, and what its pictures were seen to hold.

Boxes of the suggestions are the published ones. Of the detections only those of the two indoor
pictures are published; the others have the suggested boxes, or some of their own where the
published figures show an object elsewhere.
"""

from selma.correction.layout import check_layout

ELSEWHERE = [[0.03, 0.9, 0.06, 0.06], [0.13, 0.9, 0.06, 0.06], [0.23, 0.9, 0.06, 0.06]]
ELSEWHERE += [[0.33, 0.9, 0.06, 0.06], [0.43, 0.9, 0.06, 0.06], [0.53, 0.9, 0.06, 0.06]]
ELSEWHERE += [[0.63, 0.9, 0.06, 0.06], [0.73, 0.9, 0.06, 0.06], [0.83, 0.9, 0.06, 0.06]]

BEACH = ["bicycle", "palm tree", "seagull", "bench"]
MOTOR = ["monkey", "motorcycle", "raccoon"]
INDOOR = {"dog #1": [0.003, 0.309, 0.447, 0.62], "cat #1": [0.557, 0.342, 0.441, 0.595]}
TABLE = {"bowl #1": [0.08, 0.415, 0.361, 0.18], "cup #1": [0.483, 0.447, 0.329, 0.255]}

# name → (nouns, suggested layout, how the picture differs: name → box, None if it is not there)
CORRECTIONS = {
    "lmdplus_beach": (
        BEACH,
        {
            "blue bicycle #1": [0.185, 0.597, 0.359, 0.327],
            "palm tree #1": [0.141, 0.209, 0.264, 0.544],
            "seagull #1": [0.389, 0.028, 0.219, 0.169],
            "bench #1": [0.479, 0.573, 0.519, 0.351],
            "seagull #2": [0.577, 0.053, 0.219, 0.169],
            "seagull #3": [0.777, 0.093, 0.219, 0.169],
        },
        {
            "blue bicycle #1": None,
            "bicycle #1": [0.03, 0.55, 0.4, 0.4],
            "seagull #2": None,
            "seagull #3": None,
        },
    ),
    "dalle3_beach": (
        BEACH,
        {
            "blue bicycle #1": [0.2, 0.667, 0.423, 0.255],
            "palm tree #1": [0, 0.008, 0.515, 0.851],
            "seagull #1": [0.65, 0.361, 0.155, 0.056],
            "seagull #2": [0.567, 0.058, 0.146, 0.132],
            "seagull #3": [0.65, 0.238, 0.14, 0.076],
            "bench #1": [0.6, 0.725, 0.364, 0.173],
        },
        {
            "blue bicycle #1": [0.55, 0.667, 0.423, 0.255],
            "bench #1": [0.15, 0.725, 0.364, 0.173],
            **{f"seagull #{k}": ELSEWHERE[k - 4] for k in range(4, 9)},
        },
    ),
    "lmdplus_motor": (
        MOTOR,
        {
            "monkey #1": [0.022, 0.086, 0.39, 0.486],
            "green motorcycle #1": [0.008, 0.325, 0.472, 0.671],
            "blue motorcycle #1": [0.548, 0.394, 0.405, 0.568],
            "raccoon #1": [0.549, 0.026, 0.402, 0.483],
        },
        {"green motorcycle #1": None, "motorcycle #1": [0.008, 0.325, 0.472, 0.671]},
    ),
    "dalle3_motor": (
        MOTOR,
        {
            "monkey #1": [0.009, 0.006, 0.481, 0.821],
            "green motorcycle #1": [0.016, 0.329, 0.506, 0.6],
            "blue motorcycle #1": [0.516, 0.329, 0.484, 0.6],
            "raccoon #1": [0.46, 0.123, 0.526, 0.62],
        },
        {"blue motorcycle #1": None, "green motorcycle #1": [0.016, 0.329, 0.97, 0.6]},
    ),
    "dalle3_snowwhite": (
        ["princess", "dwarf"],
        {
            "princess #1": [0.002, 0.27, 0.448, 0.738],
            "dwarf #1": [0.179, 0.339, 0.286, 0.568],
            "dwarf #2": [0.424, 0.322, 0.227, 0.318],
            "dwarf #3": [0.681, 0.361, 0.311, 0.641],
            "dwarf #4": [0.617, 0.348, 0.25, 0.382],
        },
        {"dwarf #5": ELSEWHERE[0]},
    ),
    "dalle3_clown": (
        ["woman", "clown"],
        {"woman #1": [0.542, 0.209, 0.237, 0.601], "clown #1": [0.206, 0.153, 0.244, 0.81]},
        {"woman #1": [0.206, 0.209, 0.237, 0.601], "clown #1": [0.542, 0.153, 0.244, 0.81]},
    ),
    "sdxl_beach": (
        BEACH,
        {
            "palm tree #1": [0.001, 0.002, 0.462, 0.908],
            "seagull #8": [0.386, 0.091, 0.253, 0.139],
            "seagull #2": [0.641, 0.532, 0.116, 0.061],
            "seagull #11": [0.316, 0.428, 0.266, 0.182],
            "bench #1": [0.444, 0.771, 0.368, 0.146],
            "blue bicycle #1": [0.2, 0.65, 0.3, 0.3],
        },
        {
            "blue bicycle #1": None,
            "palm tree #2": [0.7, 0.1, 0.25, 0.5],
            **{f"seagull #{k}": ELSEWHERE[k - 2] for k in (3, 4, 5, 6, 7, 9, 10)},
            "seagull #1": ELSEWHERE[0],
        },
    ),
    "sdxl_motor": (
        MOTOR,
        {
            "green motorcycle #1": [0.025, 0.357, 0.448, 0.586],
            "blue motorcycle #1": [0.541, 0.365, 0.496, 0.602],
            "monkey #1": [0.06, 0.077, 0.422, 0.73],
            "raccoon #1": [0.571, 0.083, 0.39, 0.833],
        },
        {
            "green motorcycle #1": [0.541, 0.365, 0.448, 0.586],
            "blue motorcycle #1": [0.025, 0.357, 0.496, 0.602],
        },
    ),
}
BANANAS = {
    "banana #1": [0.473, 0.235, 0.485, 0.504],
    "banana #2": [0.293, 0.199, 0.218, 0.464],
    "banana #3": [0.255, 0.202, 0.185, 0.379],
    "banana #4": [0.64, 0.701, 0.172, 0.099],
    "banana #5": [0.303, 0.213, 0.527, 0.583],
    "banana #6": [0.419, 0.283, 0.126, 0.321],
    "apple #2": [0.416, 0.579, 0.239, 0.256],
}
DOG, PUMPKIN = [0.172, 0.15, 0.761, 0.577], [0.177, 0.567, 0.243, 0.246]
# name → (nouns, detected layout, suggested layout)
EDITS = {
    "dalle3_banana": (
        ["apple", "banana", "pumpkin"],
        {**BANANAS, "apple #1": PUMPKIN},
        {**BANANAS, "pumpkin #1": PUMPKIN},
    ),
    "dalle3_dog": (
        ["dog", "shadows"],
        {"dog #1": DOG, "shadows #1": [0.1, 0.65, 0.85, 0.2]},
        {"sleeping dog #1": DOG},
    ),
    "indoor_scene_move": (
        ["dog", "cat"],
        INDOOR,
        {"dog #1": [0.003, 0.209, 0.447, 0.62], "cat #1": [0.457, 0.342, 0.441, 0.595]},
    ),
    "indoor_scene_swap": (
        ["dog", "cat"],
        {"black dog #1": INDOOR["dog #1"], "yellow cat #1": INDOOR["cat #1"]},
        {
            "yellow cat #1": [0.003, 0.309, 0.441, 0.595],
            "black dog #1": [0.557, 0.342, 0.447, 0.62],
        },
    ),
    "indoor_scene_attr_mod": (
        ["dog", "cat"],
        INDOOR,
        {"robotic dog #1": INDOOR["dog #1"], "sculptural cat #1": INDOOR["cat #1"]},
    ),
    "indoor_scene_resize": (
        ["dog", "cat"],
        INDOOR,
        {"dog #1": [0.103, 0.409, 0.347, 0.52], "cat #1": [0.457, 0.242, 0.541, 0.695]},
    ),
    "indoor_scene_replace": (
        ["dog", "cat", "houseplant"],
        INDOOR,
        {"houseplant #1": INDOOR["dog #1"], "cat #1": INDOOR["cat #1"]},
    ),
    "indoor_table_swap": (
        ["bowl", "cup"],
        TABLE,
        {"bowl #1": [0.483, 0.477, 0.361, 0.18], "cup #1": [0.08, 0.365, 0.329, 0.255]},
    ),
    "indoor_table_resize": (
        ["bowl", "cup"],
        TABLE,
        {**TABLE, "cup #1": [0.483, 0.447, 0.41125, 0.31875]},
    ),
    "indoor_table_move": (
        ["bowl", "cup"],
        TABLE,
        {**TABLE, "cup #1": [0.413, 0.447, 0.329, 0.255]},
    ),
    "indoor_table_attr_mod": (
        ["bowl", "cup"],
        TABLE,
        {"golden bowl #1": TABLE["bowl #1"], "green cup #1": TABLE["cup #1"]},
    ),
    "indoor_table_replace": (
        ["bowl", "cup", "apple"],
        TABLE,
        {
            "cup #1": TABLE["cup #1"],
            "apple #1": [0.08, 0.415, 0.18, 0.18],
            "apple #2": [0.26, 0.415, 0.18, 0.18],
        },
    ),
}


def layout(nouns, boxes):
    return check_layout(list(boxes.items()), nouns, 30).layout


def demo_layouts(name):
    """The layout that the picture of a demo entry has, and the one suggested for it."""
    if name in EDITS:
        nouns, current, goal = EDITS[name]
    else:
        nouns, goal, differences = CORRECTIONS[name]
        current = {n: box for n, box in {**goal, **differences}.items() if box is not None}
    return layout(nouns, current), layout(nouns, goal)
