"""Writes the timeline of a saga in forms that other programs read: SVG, Mermaid and OTLP."""
