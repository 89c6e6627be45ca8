"""Metrics: arithmetic over answers, to the last digit of the published figures."""
