"""The settings pages for connections and personas."""
