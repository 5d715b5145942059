"""One HTML file that shows a site: where its parcels are, what was seen of them when, what failed, what it took."""

from s4c_hpc.report.write import write_report

__all__ = ["write_report"]
