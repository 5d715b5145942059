"""Agricultural practices of parcels: harvest, catch crops, fallow land, nitrogen-fixing crops, tillage."""
