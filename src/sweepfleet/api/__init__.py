"""The Python API: what `import sweepfleet` offers."""
