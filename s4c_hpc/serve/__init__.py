"""Serve what workspaces hold over HTTP, read-only: parcels, series, results; who may see what; what was asked.

``app.create_app`` makes the application, ``run.serve`` starts it. Nothing is handed on here, because all of it brings
libraries of the optional extra ``serve`` with it.
"""
