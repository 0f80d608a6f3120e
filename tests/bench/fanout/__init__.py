"""What text to many sockets costs: Maru beside a tutorial's design and the bare limit."""
