"""HTTP that belongs to no app: REST root, middleware, health and set-up."""
