"""What everything stands on: errors, choices, seeds, tables, files, devices."""
