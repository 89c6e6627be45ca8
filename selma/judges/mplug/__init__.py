"""mPLUG-large, under the parameter names of its release."""
