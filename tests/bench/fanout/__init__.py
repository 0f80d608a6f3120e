"""The cost of streaming to many sockets: Maru, the design of a tutorial, and the bare limit."""
