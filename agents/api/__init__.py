"""The REST endpoints of connections and personas."""
