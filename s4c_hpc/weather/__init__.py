"""Daily precipitation by grid cell, and that of the cell of a parcel."""
