"""Parameters with which each method that has any is tested."""

PARAMETERS = {
    "ties": {"density": 0.4}, "dare": {"density": 0.5}, "dare_ties": {"density": 0.5},
    "magnitude_prune": {"density": 0.3}, "knots": {"density": 0.6},
    "core_space": {"inner": {"method": "ties", "density": 0.4}},
    "released": {"model_id": "a-model-of-20-letter"},
}  # fmt: skip
