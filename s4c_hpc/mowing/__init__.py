"""Mowing of grassland (L4B): detectors, rules of crops, and the judgement of events that were found.

``looks`` and ``windows`` are the matrices that all rules work on; ``reference`` holds Sen4CAP's detectors and their
fusion, ``detector`` ours; ``season`` takes a block of parcels from values to events, ``stage_mowing`` a tile.
"""
