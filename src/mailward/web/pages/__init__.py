"""One package an area: `urls`, `views`, `forms`; templates in `web/templates/<area>/`."""
