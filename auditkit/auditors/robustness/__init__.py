"""When the model breaks: corruptions, attacks along the gradient, out-of-distribution inputs."""
