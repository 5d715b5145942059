"""Slurm: its commands, its answers, and a development cluster to try them on."""
