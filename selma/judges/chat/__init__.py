"""Chat models that see pictures, asked in batches."""
