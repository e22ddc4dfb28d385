"""What only the container image needs; the Dockerfile is in the root of the repository."""
