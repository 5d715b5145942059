"""s4c-hpc: a season of Sentinel imagery and a parcel declaration, turned into per-parcel marker files."""

__version__ = "0.1.0"
