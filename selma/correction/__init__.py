"""Self-correction (SLD): find what is wrong in a picture, plan its repair, carry it out, look again."""
