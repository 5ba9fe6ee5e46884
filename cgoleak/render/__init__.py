"""Report → bytes, one module a format. Renderers see the report and nothing behind it."""
