"""What it costs to carry text to many sockets: Maru beside a tutorial's design and the bare limit."""
