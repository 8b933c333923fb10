"""Metrics, pages to listen to, and studies. No Beam."""
