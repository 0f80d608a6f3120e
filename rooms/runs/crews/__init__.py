"""Several personas on one question: in turn (`rounds`), or asked by one that leads (`led`)."""
