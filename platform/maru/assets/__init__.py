"""Static files: bundles of the style sheets and modules in `static/`, and hashed names."""
