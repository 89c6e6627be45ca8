"""Statistics of scores: paired intervals, tests, power, votes, agreement."""
