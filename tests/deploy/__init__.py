"""What is shipped for running a project in containers."""
