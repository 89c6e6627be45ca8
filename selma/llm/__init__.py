"""Text generators: what answers a request, whoever runs it."""
