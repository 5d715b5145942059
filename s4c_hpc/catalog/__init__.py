"""Products: found in the sources, described in one index, opened in one place."""

from s4c_hpc.catalog.acquisitions import Acquisition, Acquisitions, read_acquisitions
from s4c_hpc.catalog.index import load_product, load_products, products_table, read_products
from s4c_hpc.catalog.layout_fields import MEANINGS as FIELD_MEANINGS
from s4c_hpc.catalog.layouts import Layout, layout_names, load_layout
from s4c_hpc.catalog.model import BROKEN, OK, SUPERSEDED, UNKNOWN_TIME, Band, Product
from s4c_hpc.catalog.rasters import headers_read, open_raster, opened
from s4c_hpc.catalog.readers import bands_of
from s4c_hpc.catalog.readiness import Readiness, readiness
from s4c_hpc.catalog.scan import ScanReport, check_layouts, scan
from s4c_hpc.catalog.supersede import supersede

__all__ = [
    "BROKEN",
    "FIELD_MEANINGS",
    "OK",
    "SUPERSEDED",
    "UNKNOWN_TIME",
    "Acquisition",
    "Acquisitions",
    "Band",
    "Layout",
    "Product",
    "Readiness",
    "ScanReport",
    "bands_of",
    "check_layouts",
    "headers_read",
    "layout_names",
    "load_layout",
    "load_product",
    "load_products",
    "open_raster",
    "opened",
    "products_table",
    "read_acquisitions",
    "read_products",
    "readiness",
    "scan",
    "supersede",
]
