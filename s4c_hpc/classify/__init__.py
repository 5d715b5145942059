"""Crop types from features: which parcels teach and which are judged, the model, its accuracy and its report."""
