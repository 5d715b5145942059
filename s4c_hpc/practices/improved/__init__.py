"""The improved rules of practices: strands of evidence that are weighed, instead of markers that must all be there."""
