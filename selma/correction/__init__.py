"""Self-correction (SLD): find what is wrong in a picture, plan its repair, edit, look again."""
