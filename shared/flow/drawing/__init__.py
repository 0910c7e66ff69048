"""Draws the graph of a system: for a terminal, as Mermaid, and as SVG."""
