"""The report: one HTML page and one picture that show what the experiments found."""
