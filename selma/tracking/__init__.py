"""Tracking: stages journal, and one syncer brings the journals and DVC's records to MLflow."""
