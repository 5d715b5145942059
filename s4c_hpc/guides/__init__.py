"""Documents for people, and what makes those of them that are generated."""
