"""The pages that people read: HTML and PDF, their templates, style sheets and charts."""
