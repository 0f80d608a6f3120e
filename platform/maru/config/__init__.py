"""Configuration: environment variables, back ends, secret key and logs."""
