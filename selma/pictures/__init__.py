"""Pictures in tables and folders: decode, encode, check."""
