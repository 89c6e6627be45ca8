"""Models of the Hugging Face Hub: one pinned revision, whole, checked, in a folder."""
